"""
Proofs of the verifiable random function that Chainlink's coordinator checks. A measuring tool: it
takes no care against timing attacks, and its keys are public.

Source: `VRF.sol` of @chainlink/contracts 1.5.0, which follows Goldberg et al.,
draft-irtf-cfrg-vrf-05, section 5, on secp256k1 with Keccak-256, and takes witnesses of the
products and of the inverse that would be dear to compute on chain.
"""

from __future__ import annotations

from dataclasses import dataclass

from coincurve import PrivateKey, PublicKey

from oracle.evm import keccak

# SEC 2, secp256k1: the field's size and the group's order.
_P = 2**256 - 2**32 - 977
_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

_HASH_TO_CURVE, _CHALLENGE, _OUTPUT = 1, 2, 3

Point = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """
    The fields of `VRFTypes.Proof` in its order, without `seed`: the coordinator uses it otherwise.

    `u_witness` is an address of 20 bytes.
    """

    public_key: Point
    gamma: Point
    c: int
    s: int
    u_witness: bytes
    c_gamma_witness: Point
    s_hash_witness: Point
    z_inverse: int

    @property
    def output(self) -> int:
        """
        The function's value.
        """
        return _number(_OUTPUT, *self.gamma)


def public_key(secret: int) -> Point:
    """
    Return the key that a proof is checked with.
    """
    return PrivateKey.from_int(secret).public_key.point()


def prove(secret: int, seed: int) -> Proof:
    """
    Return the proof for a seed of 256 bits. The secret is positive and below the group's order.
    """
    key = public_key(secret)
    hash_ = _hash_to_curve(key, seed)
    gamma = _multiply(hash_, secret)
    nonce = _number(secret, *hash_) % _N
    u = public_key(nonce)
    u_witness = keccak(_packed(*u))[12:]
    v = _multiply(hash_, nonce)
    c = int.from_bytes(keccak(_packed(_CHALLENGE, *hash_, *key, *gamma, *v) + u_witness), "big")
    s = (nonce - c * secret) % _N
    c_gamma, s_hash = _multiply(gamma, c % _N), _multiply(hash_, s)
    return Proof(
        public_key=key,
        gamma=gamma,
        c=c,
        s=s,
        u_witness=u_witness,
        c_gamma_witness=c_gamma,
        s_hash_witness=s_hash,
        # The contract adds the two in projective coordinates; their z is a fifth power.
        z_inverse=pow(s_hash[0] - c_gamma[0], -5, _P),
    )


def _hash_to_curve(key: Point, seed: int) -> Point:
    x = _field_hash(_packed(_HASH_TO_CURVE, *key, seed))
    while True:
        square = (pow(x, 3, _P) + 7) % _P
        y = pow(square, (_P + 1) // 4, _P)
        if y * y % _P == square:
            return x, y if y % 2 == 0 else _P - y
        x = _field_hash(_packed(x))


def _field_hash(data: bytes) -> int:
    x = int.from_bytes(keccak(data), "big")
    while x >= _P:
        x = _number(x)
    return x


def _multiply(point: Point, scalar: int) -> Point:
    return PublicKey.from_point(*point).multiply(scalar.to_bytes(32, "big")).point()


def _packed(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in numbers)


def _number(*numbers: int) -> int:
    return int.from_bytes(keccak(_packed(*numbers)), "big")
