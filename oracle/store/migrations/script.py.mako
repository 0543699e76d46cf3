"""
${message}.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None
# Programs of the version before run on while this is applied. Read what a change may do at the top
# of oracle/store/migrations/__init__.py; where it must do more, BREAKING = True.


def upgrade() -> None:
    """
    Apply.
    """
    ${upgrades if upgrades else "pass"}
