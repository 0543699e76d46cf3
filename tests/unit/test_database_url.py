from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from oracle.database_url import DatabaseUrl, is_url

pytestmark = pytest.mark.unit

GOOD = "postgresql+psycopg://oracle@db.internal:5432/oracle"


@pytest.mark.parametrize(
    ("url", "shown", "holds_password"),
    [
        (GOOD, GOOD, False),
        (
            "postgresql+psycopg://oracle:pass@db/oracle",
            "postgresql+psycopg://oracle@db/oracle",
            True,
        ),
        ("postgresql+psycopg://oracle:@db/oracle", "postgresql+psycopg://oracle@db/oracle", False),
        ("postgresql+psycopg://db/oracle?password=pass", "postgresql+psycopg://db/oracle", True),
        ("postgresql+psycopg://db/oracle?sslpassword=p", "postgresql+psycopg://db/oracle", True),
        (
            "postgresql+psycopg://[::1]:5432/oracle?sslmode=require",
            "postgresql+psycopg://[::1]:5432/oracle",
            False,
        ),
        (
            "postgresql+psycopg://u:p@/oracle?host=a:5432&host=b&connect_timeout=1",
            "postgresql+psycopg://u@/oracle?host=a:5432&host=b",
            True,
        ),
    ],
)
def test_a_url_is_shown_without_what_is_secret(
    url: str, shown: str, *, holds_password: bool
) -> None:
    parsed = DatabaseUrl.parse(url)
    assert (str(parsed), parsed.holds_password, parsed.text) == (shown, holds_password, url)
    assert make_url(url).database == "oracle"


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=5).filter(
        lambda text: (
            text not in "postgresql+psycopg://oracle@db.internal/oracle'DatabaseUrl(shown="
        )
    )
)
def test_no_password_is_ever_shown(password: str) -> None:
    url = f"postgresql+psycopg://oracle:{quote(password, safe='')}@db.internal/oracle"
    parsed = DatabaseUrl.parse(url)
    assert make_url(url).password == password
    for said in (str(parsed), repr(parsed), f"{parsed}"):
        assert password not in said
        assert quote(password, safe="") not in said


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "postgres://oracle:secret@db/oracle",
            "begins with postgres://: write ",
        ),
        ("postgresql://oracle:secret@db/oracle", "write postgresql+psycopg:// instead"),
        ("postgresql+asyncpg://oracle:secret@db/oracle", "write postgresql+psycopg:// instead"),
        ("sqlite:///secret.db", "for SQLite write its path alone"),
        ("mysql://oracle:secret@db/oracle", "begins with mysql://, which is not known"),
        ("postgresql+psycopg://oracle:sec@ret@db/oracle", "an @ or / too many"),
        ("postgresql+psycopg://oracle:secret@db/or/acle", "an @ or / too many"),
        ("postgresql+psycopg://oracle:se@cr/et@db/oracle", "an @ or / too many"),
        ("postgresql+psycopg://oracle:secret@db", "names no database"),
        ("postgresql+psycopg://oracle:secret@db/?host=a", "names no database"),
        ("postgresql+psycopg://oracle:sec ret@db/oracle", "is no URL of a database"),
        ("postgresql+psycopg:/oracle:secret@db", "is no URL of a database"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_and_the_url_is_not(url: str, sentence: str) -> None:
    assert is_url(url)
    with pytest.raises(ValueError, match=r".+") as caught:
        DatabaseUrl.parse(url)
    assert sentence in str(caught.value)
    for part in ("secret", "sec ret", "ret@", "cr/et"):
        assert part not in str(caught.value)


@pytest.mark.parametrize("path", ["oracle.db", "./data/oracle.db", "/var/lib/a:b.db", "~/x.db"])
def test_a_path_is_no_url(path: str) -> None:
    assert not is_url(path)
