"""API tokens, invitations, and the audit log of accounts: a chain of rows that nobody changes.

Each row of the log carries the hash of the one before it, so that a row that was changed, taken out or put in between shows. Its number, its
time and its hash are the database's own: a trigger that runs as the owner sees the last row, whoever writes, and lets one write at a time.
The application may insert and select (`core.migrate`, which gives the rights again after every migration); a second trigger says no to
everybody else who forgets it. Runs in one transaction under lock_timeout 4 s; no table is rewritten.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "20261125_72"
down_revision = "20261125_71"
branch_labels = None
depends_on = None

_PLATFORM = "(SELECT current_setting('app.scope', true)) = 'platform'"
_MINE = "user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)"
_DIGEST = """
CREATE FUNCTION audit_log_digest(entry audit_log) RETURNS bytea LANGUAGE sql STABLE AS $$
  SELECT sha256(entry.previous_hash || convert_to(jsonb_build_array(
    entry.number, extract(epoch FROM entry.at), entry.user_id, entry.name, entry.action, entry.object, entry.result, entry.detail,
    entry.ip_address, entry.user_agent)::text, 'UTF8'))
$$
"""
_CHAIN = """
CREATE FUNCTION audit_log_chain() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = public, pg_temp AS $$
DECLARE
  last record;
  scope text := coalesce(current_setting('app.scope', true), '');
BEGIN
  -- The owner is behind the policies too. A SET clause of the function would need a superuser, so it is put back by hand.
  PERFORM set_config('app.scope', 'platform', true);
  PERFORM pg_advisory_xact_lock(hashtext('audit_log'));
  SELECT number, hash INTO last FROM audit_log ORDER BY number DESC LIMIT 1;
  NEW.number := coalesce(last.number, 0) + 1;
  NEW.at := clock_timestamp();
  NEW.previous_hash := coalesce(last.hash, sha256(''::bytea));
  NEW.name := (SELECT username FROM users WHERE id = NEW.user_id);
  NEW.hash := audit_log_digest(NEW);
  PERFORM set_config('app.scope', scope, true);
  RETURN NEW;
END $$
"""
_REFUSE = """
CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""


def upgrade() -> None:
    _make_tokens_and_invitations()
    op.create_table(
        "audit_log",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.UUID()),
        sa.Column("name", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), server_default="", nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("ip_address", sa.Text()),
        sa.Column("user_agent", sa.Text()),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("result IN ('done', 'refused')", name=op.f("ck_audit_log_result_known")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_user_id_number", "audit_log", ["user_id", "number"])
    for statement in (_DIGEST, _CHAIN, _REFUSE):
        op.execute(statement)
    op.execute("CREATE TRIGGER chain BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_chain()")
    op.execute("CREATE TRIGGER refuse BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_refuse()")
    for table, own in (("api_tokens", f"{_PLATFORM} OR {_MINE}"), ("audit_log", f"{_PLATFORM} OR {_MINE}"), ("invitations", _PLATFORM)):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY tenant ON {table} USING ({own}) WITH CHECK ({own})")


def _make_tokens_and_invitations() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "scopes <@ ARRAY['read', 'trade', 'admin'] AND cardinality(scopes) > 0", name=op.f("ck_api_tokens_scopes_known")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id_users"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"])
    op.create_table(
        "invitations",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("made_by", sa.UUID()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.Column("used_by", sa.UUID()),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["made_by"], ["users.id"], name=op.f("fk_invitations_made_by_users"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["used_by"], ["users.id"], name=op.f("fk_invitations_used_by_users"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_invitations_secret_hash")),
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION audit_log_digest(audit_log)")
    op.drop_table("audit_log")
    op.execute("DROP FUNCTION audit_log_chain(), audit_log_refuse()")
    op.drop_table("invitations")
    op.drop_table("api_tokens")
