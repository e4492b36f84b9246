"""${message}

Revision ${up_revision}, after ${down_revision | comma,n}, ${create_date}

Runs in one transaction under lock_timeout 4 s and statement_timeout 60 s while the previous release may still be working: add first, fill
in the next release, remove in the one after. Backfills of many rows go in batches, outside of migrations.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = "${up_revision}"
down_revision = ${'"' + down_revision + '"' if isinstance(down_revision, str) else repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
