"""
Held against ethers, which Airnode is written with.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from coincurve import PublicKey
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.chain import mnemonics
from oracle.chain.airnode_xpub import AirnodeXpub
from oracle.chain.extended_keys import ExtendedPublicKey
from oracle.chain.fees import Fees
from oracle.chain.mnemonics import Mnemonic
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.chain.wallets import UnsignedTransaction, from_keystore
from oracle.errors import ConfigError
from tests.factories import COORDINATOR, addresses, hash32, words32
from tests.javascript import AirnodePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.unit

JUNK = "test test test test test test test test test test test junk"
# Nobody's.
WORDS = Mnemonic(hash32("airnode")[:16]).words()
SPONSOR = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
PASSWORD = "correct horse battery"
PATH = Path("keys/airnode.json")
# As API3 published them for its QRNG.
PUBLISHED = {
    "xpub6DXSDTZBd4aPVXnv6Q3SmnGUweFv6j24SK77W4qrSFuhGgi666awUiXakjXruUSCDQhhctVG7AQt67gMdaRAs"
    "DnDXv23bBRKsMWvRzo6kbf": "0x9d3C147cA16DB954873A498e0af5852AB39139f2",
    "xpub6CuDdF9zdWTRuGybJPuZUGnU4suZowMmgu15bjFZT2o6PUtk4Lo78KGJUGBobz3pPKRaN9sLxzj21CMe6StP3"
    "zUsd8tWEJPgZBesYBMY7Wo": "0x6238772544f029ecaBfDED4300f13A3c4FE84E1D",
}
XPUB = next(iter(PUBLISHED))

entropies = st.sampled_from([16, 20, 24, 28, 32]).flatmap(
    lambda length: st.binary(min_size=length, max_size=length)
)


@pytest.fixture(scope="module")
def peer() -> Iterator[AirnodePeer]:
    with AirnodePeer() as running:
        yield running


@settings(max_examples=30)
@given(entropy=entropies, sponsor=addresses, digest=words32)
def test_all_keys_are_airnodes(
    peer: AirnodePeer, entropy: bytes, sponsor: str, digest: bytes
) -> None:
    words = Mnemonic(entropy).words()
    keys = AirnodeKeys(Mnemonic.from_words(words))
    assert {"address": keys.address, "xpub": str(keys.xpub)} == peer.ask("identity", words=words)
    wallet = peer.ask("wallet", words=words, sponsor=sponsor)
    assert keys.sponsor_wallet(sponsor).address == wallet["address"]
    assert keys.xpub.sponsor_wallet(sponsor) == wallet["address"]
    assert keys.sign(digest) == peer.bytes("sign", words=words, digest=digest)


@settings(max_examples=50)
@given(sponsor=addresses)
def test_sponsor_wallet_follows_from_the_xpub_alone(peer: AirnodePeer, sponsor: str) -> None:
    expected = peer.ask("publicWallet", xpub=XPUB, sponsor=sponsor)
    assert AirnodeXpub.from_text(XPUB).sponsor_wallet(sponsor) == expected


@pytest.mark.parametrize("sponsor", ["0x" + "00" * 20, "0x" + "ff" * 20])
def test_first_and_last_sponsor_have_wallets(peer: AirnodePeer, sponsor: str) -> None:
    wallet = peer.ask("wallet", words=JUNK, sponsor=sponsor)["address"]
    keys = AirnodeKeys(Mnemonic.from_words(JUNK))
    assert keys.sponsor_wallet(sponsor).address == keys.xpub.sponsor_wallet(sponsor) == wallet


@pytest.mark.parametrize(("xpub", "airnode"), PUBLISHED.items())
def test_published_xpub_is_its_airnodes(xpub: str, airnode: str) -> None:
    key = AirnodeXpub.from_text(f" {xpub}\n", airnode=airnode)
    assert key.airnode == airnode
    assert str(key) == xpub


def test_sponsor_wallet_signs_with_the_derived_key(peer: AirnodePeer) -> None:
    signer = AirnodeKeys(Mnemonic.from_words(WORDS)).sponsor_wallet(SPONSOR)
    signed, _ = signer.sign(
        UnsignedTransaction(
            chain_id=1, nonce=0, to=COORDINATOR, data=b"", gas_limit=21_000, fees=Fees(9, 1)
        )
    )
    replaced, _ = signer.replace(signed, Fees(90, 10))
    assert replaced != signed
    for transaction in (signed, replaced):
        assert Account.recover_transaction(transaction) == signer.address
    assert not hasattr(signer, "keystore")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text[:-1], "has 111 characters"),
        (lambda text: text + "1", "has 111 characters"),
        (lambda _: "", "has 111 characters"),
        (lambda text: text * 1000, "has 111 characters"),
        (lambda text: text[:-1] + "g", "checksum"),
        (lambda text: text[:60] + "0" + text[61:], "character"),
        (lambda _: "not an xpub", "character"),
    ],
)
def test_bad_xpub_is_refused_with_what_is_wrong(
    change: Callable[[str], str], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        AirnodeXpub.from_text(change(XPUB))


def test_xpub_of_another_depth_is_refused() -> None:
    key = ExtendedPublicKey.from_text(XPUB)
    with pytest.raises(ConfigError, match="depth 4"):
        AirnodeXpub.from_text(key.derive(0).text())
    # m/44'/60'/1': as deep, and not the account.
    other = replace(key, child=key.child + 1)
    with pytest.raises(ConfigError, match="m/44'/60'/0'"):
        AirnodeXpub.from_text(other.text())


def test_xprv_is_refused_and_not_repeated(peer: AirnodePeer) -> None:
    secret = (
        "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU"
        "3TGtRBeJgk33yuGBxrMPHi"
    )
    with pytest.raises(ConfigError, match="extended private key") as caught:
        AirnodeXpub.from_text(secret)
    assert secret[:20] not in str(caught.value)


def test_xpub_of_another_airnode_is_refused() -> None:
    with pytest.raises(ConfigError, match="belongs to the Airnode 0x9d3C"):
        AirnodeXpub.from_text(XPUB, airnode=SPONSOR)


def test_hardened_child_of_a_public_key_is_refused() -> None:
    with pytest.raises(ValueError, match="hardened"):
        ExtendedPublicKey.from_text(XPUB).derive(1 << 31)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("test test", "this has 2"),
        (WORDS.rsplit(" ", 1)[0] + " quantum", "checksum|place"),
        (WORDS.replace(WORDS.split()[1], "kwantum", 1), "place 2"),
        (" ".join(reversed(JUNK.split())), "checksum"),
    ],
)
def test_bad_mnemonic_is_refused_and_no_word_repeated(words: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        Mnemonic.from_words(words)
    for word in ("junk", "kwantum", "quantum", *WORDS.split()):
        assert f" {word} " not in f" {caught.value} "


def test_mnemonic_is_read_however_it_is_spaced() -> None:
    spaced = "\n".join(WORDS.upper().split())
    assert Mnemonic.from_words(f"  {spaced}\n") == Mnemonic.from_words(WORDS)


def test_created_mnemonics_differ_and_are_nobodys() -> None:
    made = [Mnemonic.create() for _ in range(3)]
    assert len({mnemonic.entropy for mnemonic in made}) == 3
    assert not any(mnemonic.well_known for mnemonic in made)
    assert {len(mnemonic.words().split()) for mnemonic in made} == {24}


@pytest.mark.parametrize(
    "words",
    [
        JUNK,  # anvil, Hardhat
        "myth like bonus scare over problem client lizard pioneer submit female collect",
        "candy maple cake sugar pudding cream honey rich smooth crumble sweet treat",
        "achieve climb couple wait accident symbol spy blouse reduce foil echo label",
        f"{'abandon ' * 11}about",
        f"{'abandon ' * 23}art",
        "legal winner thank year wave sausage worth useful legal winner thank yellow",
        "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
        f"{'zoo ' * 11}wrong",
        "ozone drill grab fiber curtain grace pudding thank cruise elder eight picnic",
        "scheme spot photo card baby mountain device kick cradle pact join borrow",
        "cat swing flag economy stadium alone churn speed unique patch report train",
        "vessel ladder alter error federal sibling chat ability sun glass valve picture",
    ],
)
def test_mnemonic_of_a_tool_or_a_standard_is_known(words: str) -> None:
    assert Mnemonic.from_words(words).well_known
    assert AirnodeKeys(Mnemonic.from_words(words)).well_known


def test_other_mnemonic_is_not_well_known() -> None:
    assert not Mnemonic.from_words(WORDS).well_known


def test_encrypted_file_costs_a_guess_as_much_as_a_keystore(full_strength: None) -> None:
    mnemonic = Mnemonic.from_words(WORDS)
    text = mnemonics.seal(mnemonic, AirnodeKeys(mnemonic).xpub, PASSWORD)
    told = json.loads(text)["crypto"]["kdfparams"]
    assert (told["n"], told["r"], told["p"], told["dklen"]) == (32_768, 8, 8, 32)
    # The same work as a keystore's 262,144 · 8 · 1; OWASP asks for p = 3 where n is this.
    assert told["n"] * told["p"] == 262_144
    assert mnemonics.unseal(text, PASSWORD, PATH) == mnemonic


def test_encrypted_file_gives_the_mnemonic_back() -> None:
    mnemonic = Mnemonic.from_words(WORDS)
    keys = AirnodeKeys(mnemonic)
    text = mnemonics.seal(mnemonic, keys.xpub, PASSWORD)
    assert mnemonics.is_sealed(text)
    assert str(mnemonics.announced(text, PATH)) == str(keys.xpub)
    assert mnemonics.unseal(text, PASSWORD, PATH) == mnemonic
    assert mnemonic.entropy.hex() not in text
    assert not set(WORDS.split()) & set(text.split())
    with pytest.raises(ConfigError, match="does not open"):
        mnemonics.unseal(text, PASSWORD + "!", PATH)
    # Twice the same mnemonic and password: nothing in the file tells.
    again = json.loads(mnemonics.seal(mnemonic, keys.xpub, PASSWORD))
    assert again["crypto"]["ciphertext"] != json.loads(text)["crypto"]["ciphertext"]


def test_file_of_before_still_opens() -> None:
    mnemonic = Mnemonic.from_words(WORDS)
    keys = AirnodeKeys(mnemonic)
    content = {
        "kind": "airnode-mnemonic",
        "airnode": keys.address,
        "xpub": str(keys.xpub),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": "2f78dc161eb463945c0b5031179c6851"},
            "ciphertext": "9b9aa7e73634a112dd5bf6795efe3059",
            "kdf": "scrypt",
            "kdfparams": {
                "n": 262144,
                "r": 8,
                "p": 1,
                "dklen": 32,
                "salt": "4ee8f3bc537d453ab8917f2ec3dcea071134cc505dbcd0faded07e67c37973f1",
            },
            "mac": "a558607366935e5998ab220ffc0f969e6daa69f369c34b4a3ed2100c0676d7e4",
        },
        "id": "0cf7a999-56c0-4ac0-a48f-2e2ac1089194",
        "version": 3,
    }
    assert mnemonics.unseal(json.dumps(content), PASSWORD, PATH) == mnemonic


def test_encrypted_mnemonic_is_no_wallets_key() -> None:
    # 24 words have 32 bytes of entropy, which would pass for a private key.
    mnemonic = Mnemonic.create()
    text = mnemonics.seal(mnemonic, AirnodeKeys(mnemonic).xpub, PASSWORD)
    with pytest.raises(ConfigError, match="mnemonic"):
        from_keystore(text, PASSWORD, PATH)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 3}', WORDS])
def test_other_file_is_no_encrypted_mnemonic(text: str) -> None:
    assert not mnemonics.is_sealed(text)
    for read in (mnemonics.announced, lambda text, path: mnemonics.unseal(text, PASSWORD, path)):
        with pytest.raises(ConfigError, match="create-mnemonic"):
            read(text, PATH)


def test_altered_announcement_is_found() -> None:
    mnemonic = Mnemonic.from_words(WORDS)
    content = json.loads(mnemonics.seal(mnemonic, AirnodeKeys(mnemonic).xpub, PASSWORD))
    content["airnode"] = SPONSOR
    with pytest.raises(ConfigError, match="does not say which Airnode"):
        mnemonics.announced(json.dumps(content), PATH)


def test_nothing_shows_a_key() -> None:
    mnemonic = Mnemonic.from_words(WORDS)
    keys = AirnodeKeys(mnemonic)
    shown = "".join(
        repr(thing)
        for thing in (mnemonic, keys, keys.xpub, keys.sponsor_wallet(SPONSOR), keys._wallets)
    )
    assert mnemonic.entropy.hex() not in shown
    assert keys._wallets.key.secret.hex() not in shown
    assert keys._airnode.secret.hex() not in shown
    assert not set(WORDS.split()) & set(shown.split())


def test_digest_is_a_word() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        AirnodeKeys(Mnemonic.from_words(WORDS)).sign(b"0x" + bytes(64))


def test_one_sponsor_key_and_the_xpub_reveal_the_airnodes_key() -> None:
    """
    The fact that the warnings are about, shown.
    """
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    from oracle.chain import airnode_xpub, extended_keys  # noqa: PLC0415

    keys = AirnodeKeys(Mnemonic.from_words(WORDS))
    path = (airnode_xpub.RRP, *airnode_xpub.sponsor_path(SPONSOR))
    leaked = int.from_bytes(keys._wallets.derive(*path[1:]).key.secret, "big")
    public = ExtendedPublicKey.from_text(str(keys.xpub))
    chain = [public.derive(*path[:depth]) for depth in range(len(path))]
    for parent, index in zip(reversed(chain), reversed(path), strict=True):
        tweak, _ = extended_keys._split(
            parent.chain_code, parent.key.format() + index.to_bytes(4, "big")
        )
        leaked = (leaked - int.from_bytes(tweak, "big")) % order
    assert PublicKey.from_secret(leaked.to_bytes(32, "big")) == public.key
