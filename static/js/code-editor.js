// <code-editor>: CodeMirror in a shadow root, and a form field like any other. It takes over the textarea that stands in it, which is what
// a browser without scripts shows and sends. Styles of a shadow root are constructed sheets, which the content policy lets pass.

import {
  basicSetup, Compartment, EditorState, EditorView, forEachDiagnostic, getChunks, HighlightStyle, indentUnit, indentWithTab, keymap, lintGutter, python,
  pythonLanguage, setDiagnostics, syntaxHighlighting, tags, unifiedMergeView,
} from "../vendor/codemirror.mjs";
import { completionsFrom } from "./code-completions.js";
import { texts } from "./format.js";

const highlighting = HighlightStyle.define([
  { tag: [tags.keyword, tags.controlKeyword, tags.definitionKeyword, tags.operatorKeyword, tags.moduleKeyword, tags.self], color: "var(--violet)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--success-fg)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--warn-fg)" },
  { tag: tags.comment, color: "var(--fg-3)", fontStyle: "italic" },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName), tags.className, tags.meta], color: "var(--primary-fg)" },
  { tag: [tags.operator, tags.punctuation, tags.bracket], color: "var(--fg-2)" },
  { tag: tags.invalid, color: "var(--danger-fg)" },
]);

const look = EditorView.theme({
  "&": { height: "100%", color: "var(--fg)", backgroundColor: "var(--field)", fontSize: "var(--code-size, 13px)" },
  // The frame around it shows the focus: the gutter would lie over an outline.
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", overflow: "auto", scrollbarWidth: "thin", scrollbarColor: "var(--line-2) transparent" },
  ".cm-content": { caretColor: "var(--primary)", paddingBlock: "8px" },
  "&.cm-focused .cm-cursor": { borderLeft: "2px solid var(--primary)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    background: "color-mix(in srgb, var(--primary) 28%, transparent)",
  },
  ".cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--fg) 4%, transparent)" },
  ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--fg-3)", borderRight: "1px solid var(--line)" },
  ".cm-activeLineGutter": { backgroundColor: "var(--raised)", color: "var(--fg)" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "26px" },
  ".cm-foldGutter .cm-gutterElement": { cursor: "pointer" },
  ".cm-foldPlaceholder": { background: "var(--raised)", border: "1px solid var(--line-2)", color: "var(--fg-2)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--primary-tint)", outline: "1px solid var(--primary)" },
  ".cm-searchMatch": { backgroundColor: "var(--warn-tint)", outline: "1px solid var(--warn)" },
  ".cm-searchMatch-selected": { backgroundColor: "color-mix(in srgb, var(--warn) 35%, transparent)" },
  ".cm-selectionMatch": { backgroundColor: "color-mix(in srgb, var(--fg) 12%, transparent)" },
  ".cm-panels": { backgroundColor: "var(--panel)", color: "var(--fg)", borderColor: "var(--line-2)" },
  ".cm-panels.cm-panels-bottom": { borderTop: "1px solid var(--line-2)" },
  ".cm-panel.cm-search": { padding: "8px 30px 8px 8px", fontFamily: "var(--font)" },
  ".cm-panel label": { color: "var(--fg-2)", fontSize: "12px" },
  ".cm-textfield": { background: "var(--field)", color: "var(--fg)", border: "1px solid var(--control-line)", borderRadius: "4px", minHeight: "26px", fontSize: "13px" },
  ".cm-button": { background: "var(--raised)", color: "var(--fg)", border: "1px solid var(--line-2)", borderRadius: "4px", minHeight: "26px" },
  ".cm-panel.cm-search [name=close]": { color: "var(--fg-2)", minWidth: "26px", minHeight: "26px", fontSize: "18px" },
  ".cm-tooltip": { background: "var(--raised)", color: "var(--fg)", border: "1px solid var(--line-2)", borderRadius: "6px", overflow: "hidden" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "12px", maxHeight: "16em" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 8px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--primary-tint)", color: "var(--fg)", boxShadow: "inset 2px 0 var(--primary)" },
  ".cm-completionMatchedText": { textDecoration: "none", color: "var(--primary-fg)" },
  ".cm-completionDetail": { color: "var(--fg-3)", fontStyle: "normal", marginLeft: "1em" },
  ".cm-tooltip.cm-completionInfo": { maxWidth: "340px", padding: "8px 10px", fontSize: "12px", lineHeight: "1.45", fontFamily: "var(--font)" },
  ".cm-diagnostic": { padding: "5px 10px", fontFamily: "var(--font)", fontSize: "13px" },
  ".cm-diagnostic-error": { borderLeft: "4px solid var(--danger)" },
  ".cm-diagnostic-warning": { borderLeft: "4px solid var(--warn)" },
  ".cm-diagnostic-info": { borderLeft: "4px solid var(--primary)" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--danger)", textUnderlineOffset: "3px" },
  ".cm-lintRange-warning": { backgroundImage: "none", textDecoration: "underline wavy var(--warn)", textUnderlineOffset: "3px" },
  ".cm-lintRange-info": { backgroundImage: "none", textDecoration: "underline dotted var(--primary)", textUnderlineOffset: "3px" },
  // Shapes as well as colours: a square for an error, a diamond for a warning, a circle for a note.
  ".cm-lint-marker": { content: "''", width: "9px", height: "9px", margin: "5px 2px" },
  ".cm-lint-marker-error": { background: "var(--danger)", borderRadius: "1px" },
  ".cm-lint-marker-warning": { background: "var(--warn)", rotate: "45deg", borderRadius: "1px" },
  ".cm-lint-marker-info": { background: "var(--primary)", borderRadius: "50%" },
  ".cm-changedLine": { backgroundColor: "var(--success-tint) !important" },
  ".cm-deletedChunk": { backgroundColor: "var(--danger-tint)", paddingLeft: "6px" },
  ".cm-deletedChunk .cm-deletedText": { background: "color-mix(in srgb, var(--danger) 28%, transparent)" },
  ".cm-changedText": { background: "color-mix(in srgb, var(--success) 22%, transparent)" },
  ".cm-chunkButtons": { fontFamily: "var(--font)" },
  ".cm-chunkButtons button": { minHeight: "22px", padding: "0 8px", marginInlineStart: "4px", borderRadius: "4px", fontSize: "12px", color: "var(--fg) !important", background: "var(--raised) !important", border: "1px solid var(--line-2) !important" },
  // On a phone they would lie over the lines; the whole can be accepted or rejected there.
  "@media (max-width: 760px)": { ".cm-chunkButtons": { display: "none" } },
  ".cm-collapsedLines": { padding: "4px 8px", background: "var(--raised)", color: "var(--fg-2)", fontFamily: "var(--font)", fontSize: "12px" },
  ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: '"⋯"', marginInline: "6px" },
  ".cm-insertedLine, .cm-deletedLine": { textDecoration: "none" },
});

// What the editor says in English, by the names under which the page has it in its reader's language.
const PHRASES = {
  find: "Find",
  replaceWith: "Replace",
  next: "next",
  previous: "previous",
  all: "all",
  matchCase: "match case",
  byWord: "by word",
  regexp: "regexp",
  replace: "replace",
  replaceAll: "replace all",
  close: "close",
  currentMatch: "current match",
  onLine: "on line",
  replacedMatches: "replaced $ matches",
  replacedMatchOnLine: "replaced match on line $",
  goToLine: "Go to line",
  go: "go",
  diagnostics: "Diagnostics",
  noDiagnostics: "No diagnostics",
  foldLine: "Fold line",
  unfoldLine: "Unfold line",
  foldedLines: "Folded lines",
  unfoldedLines: "Unfolded lines",
  to: "to",
  foldedCode: "folded code",
  unfold: "unfold",
  completions: "Completions",
  controlCharacter: "Control character",
  selectionDeleted: "Selection deleted",
  accept: "Accept",
  reject: "Reject",
  unchangedLines: "$ unchanged lines",
  revertThisChunk: "Revert this chunk",
};
const phrases = Object.fromEntries(Object.entries(PHRASES).map(([name, english]) => [english, texts.phrases?.[name] ?? english]));

const SEVERITIES = { error: "error", warning: "warning", note: "info" };

class CodeEditor extends HTMLElement {
  static formAssociated = true;

  #internals = this.attachInternals();
  #dark = new Compartment();
  #reading = new Compartment();
  #diff = new Compartment();
  #view = null;

  connectedCallback() {
    if (this.#view) return;
    const area = this.querySelector("textarea");
    const root = this.attachShadow({ mode: "open", delegatesFocus: true });
    this.initial = area.value;
    area.disabled = true;
    area.hidden = true;
    this.#view = new EditorView({ parent: root, root, state: EditorState.create({ doc: area.value, extensions: this.#extensions() }) });
    this.#internals.setFormValue(area.value);
    this.dataset.ready = "";
    addEventListener("themechange", () => this.#set(this.#dark, isDark()));
  }

  #extensions() {
    return [
      basicSetup,
      python(),
      pythonLanguage.data.of({ autocomplete: completionsFrom(JSON.parse(document.getElementById(this.dataset.completions)?.textContent ?? "{}")) }),
      indentUnit.of("    "),
      EditorState.tabSize.of(4),
      EditorState.phrases.of(phrases),
      // Escape and then Tab goes on to what follows the editor.
      keymap.of([indentWithTab]),
      lintGutter(),
      syntaxHighlighting(highlighting),
      look,
      this.#dark.of(isDark()),
      this.#reading.of([]),
      this.#diff.of([]),
      EditorView.contentAttributes.of({ tabindex: "0", "aria-label": this.getAttribute("label") ?? "", spellcheck: "false", autocapitalize: "off" }),
      EditorView.domEventHandlers({ beforeinput: typeOver }),
      EditorView.updateListener.of((update) => this.#heard(update)),
    ];
  }

  #set(compartment, extension) {
    this.#view.dispatch({ effects: compartment.reconfigure(extension) });
  }

  #heard(update) {
    if (!update.docChanged) return;
    this.#internals.setFormValue(this.value);
    this.dispatchEvent(new Event("input", { bubbles: true }));
  }

  get value() {
    return this.#view.state.doc.toString();
  }

  /** Another text, as a change that can be undone. */
  set value(text) {
    const { doc } = this.#view.state;
    if (doc.toString() !== text) this.#view.dispatch({ changes: { from: 0, to: doc.length, insert: text } });
  }

  get name() {
    return this.getAttribute("name");
  }

  get form() {
    return this.#internals.form;
  }

  formResetCallback() {
    this.value = this.initial;
  }

  focus() {
    this.#view.focus();
  }

  /** Mark places: `{line, column, severity, message}`, lines and columns from 1; what has no line stays out. */
  mark(problems) {
    const { doc } = this.#view.state;
    const marks = problems.filter(({ line }) => line >= 1 && line <= doc.lines).map(({ line, column, severity, message }) => {
      const { from, to, text } = doc.line(line);
      const first = from + (text.length - text.trimStart().length);
      const at = column > 1 ? Math.min(from + column - 1, to) : first;
      const word = this.#view.state.wordAt(at);
      return { from: at, to: column > 1 ? Math.max(word?.to ?? at, at) : to, severity: SEVERITIES[severity] ?? "info", message };
    });
    this.#view.dispatch(setDiagnostics(this.#view.state, marks));
  }

  /** How many places are marked, as they moved with the text. */
  get marked() {
    let count = 0;
    forEachDiagnostic(this.#view.state, () => (count += 1));
    return count;
  }

  goTo(line, column = 1) {
    const { doc } = this.#view.state;
    const place = doc.line(Math.max(1, Math.min(line, doc.lines)));
    const anchor = Math.min(place.from + Math.max(column, 1) - 1, place.to);
    this.#view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
    this.#view.focus();
  }

  /** Show the text against an older one, line by line; null shows the text alone. With `controls` each change can be taken back alone. */
  compare(original, { controls = false } = {}) {
    const extension = original === null ? [] : unifiedMergeView({ original, mergeControls: controls, collapseUnchanged: { margin: 3, minSize: 6 } });
    this.#set(this.#diff, extension);
  }

  /** How many places differ from the text that it is compared with. */
  get changes() {
    return getChunks(this.#view.state)?.chunks.length ?? 0;
  }

  set readOnly(isIt) {
    this.#set(this.#reading, isIt ? [EditorState.readOnly.of(true), EditorView.editable.of(false)] : []);
  }
}

function isDark() {
  return EditorView.darkTheme.of(document.documentElement.dataset.theme !== "light");
}

// A browser that puts a letter in place of several lines keeps their look in a style attribute, which the content policy refuses.
function typeOver(event, view) {
  const { main } = view.state.selection;
  if (event.inputType !== "insertText" || !event.data || view.composing || main.empty) return false;
  event.preventDefault();
  const insert = () => view.state.update(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
  const isTaken = view.state.facet(EditorView.inputHandler).some((handle) => handle(view, main.from, main.to, event.data, insert));
  if (!isTaken) view.dispatch(insert());
  return true;
}

customElements.define("code-editor", CodeEditor);
