// What the editor offers while a strategy is typed: what `aristobot` brings, from the list that the server gives, and the strategy's own series.

import { snippetCompletion, syntaxTree } from "../vendor/codemirror.mjs";

const OWN = /\bself\.([A-Za-z_]\w*)\s*=|^ {4}([A-Za-z_]\w*)\s*(?::[^=\n]+)?=/gm;

/** A source of completions of `{ta, members, candles, methods, names}`: lists of `{label, type, detail, info, snippet}`. */
export function completionsFrom(lists) {
  const given = Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, list.map(option)]));
  return (context) => {
    if (["String", "Comment"].includes(syntaxTree(context.state).resolveInner(context.pos, -1).name)) return null;
    const member = context.matchBefore(/\b(\w+)\.\w*$/);
    if (member) {
      const [owner] = member.text.split(".");
      const from = member.from + owner.length + 1;
      if (owner === "ta" || owner === "candles") return answer(from, given[owner]);
      return owner === "self" ? answer(from, [...own(context.state), ...(given.members ?? [])]) : null;
    }
    const method = context.matchBefore(/^ {4}(?:def )?\w*$/);
    if (method && (method.text.length > 4 || context.explicit)) {
      const from = method.from + 4;
      return answer(from, [...(given.methods ?? []), ...(method.text.includes("def ") ? [] : (given.names ?? []))]);
    }
    const word = context.matchBefore(/\w+$/);
    return word || context.explicit ? answer(word?.from ?? context.pos, given.names) : null;
  };
}

function answer(from, options = []) {
  return options.length ? { from, options, validFor: /^(?:def )?\w*$/ } : null;
}

function option({ snippet, ...rest }) {
  return snippet ? snippetCompletion(snippet, rest) : rest;
}

function own(state) {
  const found = new Set();
  for (const [, attribute, parameter] of state.doc.toString().matchAll(OWN)) found.add(attribute ?? parameter);
  return [...found].map((label) => ({ label, type: "property", boost: 1 }));
}
