"""
What the calldata of an Airnode's fulfillment proves: who signed which number for which request.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from coincurve import PublicKey
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from oracle.evm import checksum_address, keccak

_FULFILL = ["bytes32", "address", "address", "bytes4", "bytes", "bytes"]
_SELECTOR = keccak(f"fulfill({','.join(_FULFILL)})".encode())[:4]
# EIP-191 over 32 bytes.
_PREFIX = b"\x19Ethereum Signed Message:\n32"
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_WORD = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfillment:
    """
    A call of AirnodeRrpV0's `fulfill`: who is said to have signed what, for which request.
    """

    request_id: bytes
    airnode: str
    target: str
    function: bytes
    data: bytes
    signature: bytes

    @property
    def signer(self) -> str | None:
        """
        The account that signed request id and data; nothing where the contract would refuse the
        signature.
        """
        return signer_of(self.request_id, self.data, self.signature)

    @property
    def is_signed(self) -> bool:
        """
        Whether the Airnode that is named signed it.
        """
        return self.signer == self.airnode


def read_fulfillment(data: bytes) -> Fulfillment | None:
    """
    Return what a transaction's calldata fulfills; nothing when it is no such call.
    """
    if data[:4] != _SELECTOR:
        return None
    try:
        request_id, airnode, target, function, answer, signature = decode(
            _FULFILL, data[4:], strict=False
        )
    except (DecodingError, OverflowError, ValueError):
        return None
    return Fulfillment(
        request_id=request_id,
        airnode=checksum_address(airnode),
        target=checksum_address(target),
        function=function,
        data=answer,
        signature=signature,
    )


def signer_of(request_id: bytes, data: bytes, signature: bytes) -> str | None:
    """
    Return the account that signed a request's data, by the contract's own rules: r, s and v, or
    the 64 bytes of EIP-2098; s in the lower half.
    """
    r, s = signature[:32], int.from_bytes(signature[32:64], "big")
    if len(signature) == 2 * _WORD:
        odd, s = s >> 255, s & (1 << 255) - 1
    elif len(signature) == 2 * _WORD + 1 and signature[64] in (27, 28):
        odd = signature[64] - 27
    else:
        return None
    if s > _ORDER // 2:
        return None
    digest = keccak(_PREFIX + keccak(request_id + data))
    recoverable = r + s.to_bytes(32, "big") + bytes([odd])
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except Exception:  # noqa: BLE001 - coincurve raises bare ones: no key gives this signature
        return None
    return checksum_address(keccak(key.format(compressed=False)[1:])[12:])


def words_in(data: bytes, *, array: bool) -> tuple[bytes, ...] | None:
    """
    Return the words that a response holds; nothing when it is no `uint256`, or no `uint256[]`.
    """
    if not array:
        return (data,) if len(data) == _WORD else None
    try:
        (words,) = decode(["bytes32[]"], data)
    except (DecodingError, OverflowError, ValueError):
        return None
    return tuple(words)
