"""Old months of candles can be dropped.

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s; it makes a function only.
"""

from alembic import op

revision = "20261126_02"
down_revision = "20261126_01"
branch_labels = None
depends_on = None

# The application's role has no DDL: it asks the owner, through this function, to drop the oldest month, one in each transaction, since
# dropping locks every reader out for as long as the transaction lasts. It waits a moment only for those who read now: whoever comes after
# it would wait behind it. A month goes once every candle of it is `keep_months` old, by the database's clock; holes and differences of
# that time go with it. What cannot be got within the moment is an error (lock_not_available), and is tried again later.
DROP_MONTH = """
CREATE OR REPLACE FUNCTION drop_candle_month(keep_months integer) RETURNS date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public SET lock_timeout = '500ms' AS $$
DECLARE
    partition text;
    first_day date;
    ended_at timestamptz;
BEGIN
    IF keep_months IS NULL OR keep_months < 1 THEN
        RAISE EXCEPTION 'candles must be kept for a month at least, was %', keep_months USING ERRCODE = 'check_violation';
    END IF;
    SELECT child.relname INTO partition
      FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
     WHERE inhparent = 'public.candles'::regclass AND child.relname ~ '^candles_[0-9]{4}_[0-9]{2}$'
     ORDER BY child.relname LIMIT 1;
    IF partition IS NULL THEN
        RETURN NULL;
    END IF;
    first_day := to_date(right(partition, 7), 'YYYY_MM');
    ended_at := (first_day + interval '1 month') AT TIME ZONE 'UTC';
    IF (first_day + make_interval(months => keep_months + 1)) AT TIME ZONE 'UTC' > now() THEN
        RETURN NULL;
    END IF;
    -- Whoever makes a month meanwhile waits, or we do.
    PERFORM pg_advisory_xact_lock(hashtextextended('ensure_candle_partition', 0));
    EXECUTE format('DROP TABLE public.%I', partition);
    DELETE FROM public.candle_gaps WHERE end_at <= ended_at;
    DELETE FROM public.candle_differences WHERE open_time < ended_at;
    RETURN first_day;
END
$$;
"""


def upgrade() -> None:
    op.execute(DROP_MONTH)


def downgrade() -> None:
    op.execute("DROP FUNCTION drop_candle_month(integer)")
