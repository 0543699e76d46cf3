"""
Those who ask: a few accounts, on a consumer of the coordinator and on consumers of API3 QRNG.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle import artifacts
from oracle.airnode_settings import UINT256, UINT256_ARRAY
from oracle.chain import transact
from oracle.chain.fees import GWEI, Fees
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.chain.wallets import UnsignedTransaction, from_private_key
from oracle.devnet.network import CHAIN_ID
from oracle.devnet.qrng import MNEMONIC
from oracle.errors import AnsweredError
from oracle.evm import keccak

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import LocalSigner

ETHER = 10**18
# All of it is the fee; it is enough while the base fee is below 200 gwei.
_VALUE = ETHER // 20
_MAX_FEE = 1000 * GWEI
_GAS = 300_000
_ACCOUNTS = 4
_CONSUMERS = 3
_ASK = keccak(b"ask()")[:4]
_ONE = keccak(b"makeRequestUint256()")[:4]
_SEVERAL = keccak(b"makeRequestUint256Array(uint256)")[:4]
_SET = keccak(b"setRequestParameters(address,bytes32,bytes32,address)")[:4]


class Requesters:
    """
    Accounts that ask, in transactions of their own.

    Does not: make sure that a request is mined, or stays; whoever counts sees what is missing.
    """

    def __init__(self, reader: Web3Reader, seed: int) -> None:
        self.raw: dict[bytes, bytes] = {}
        self.asked = 0
        self.sponsor_wallets: list[str] = []
        self._reader = reader
        self._rng = random.Random(seed)
        self._accounts: list[LocalSigner] = []
        self._consumer = ""
        self._qrng: list[str] = []

    async def settle_in(self, player: LocalSigner, coordinator: str, rrp: str) -> None:
        """
        Deploy the consumers, and fund accounts and sponsor wallets.
        """
        reader, keys = self._reader, AirnodeKeys(MNEMONIC)
        for _ in range(_ACCOUNTS):
            account = from_private_key(self._rng.randbytes(32).hex())
            await reader.rpc("anvil_setBalance", account.address, hex(10**6 * ETHER))
            self._accounts.append(account)
        self._consumer, _ = await transact.deploy(
            reader,
            player,
            artifacts.load("MinimalConsumer"),
            encode(["address", "bool"], [coordinator, True]),
        )
        for _ in range(_CONSUMERS):
            consumer, _ = await transact.deploy(
                reader, player, artifacts.load("QrngConsumer"), encode(["address"], [rrp])
            )
            wallet = keys.xpub.sponsor_wallet(consumer)
            await reader.rpc("anvil_setBalance", wallet, hex(1000 * ETHER))
            ids = [bytes.fromhex(one[0][2:]) for one in (UINT256, UINT256_ARRAY)]
            data = _SET + encode(
                ["address", "bytes32", "bytes32", "address"], [keys.address, *ids, wallet]
            )
            sent = await transact.send_transaction(reader, player, to=consumer, data=data)
            await transact.wait_for(reader, sent)
            self._qrng.append(consumer)
            self.sponsor_wallets.append(wallet)

    async def ask(self, native: int, airnode: int) -> None:
        """
        Send so many requests, from any of the accounts, in any order.
        """
        calls: list[tuple[str, bytes, int]] = [(self._consumer, _ASK, _VALUE)] * native
        for _ in range(airnode):
            several = _SEVERAL + encode(["uint256"], [self._rng.randint(1, 4)])
            data = _ONE if self._rng.random() < 0.5 else several
            calls.append((self._rng.choice(self._qrng), data, 0))
        self._rng.shuffle(calls)
        nonces = {
            account.address: await transact.pending_nonce(self._reader, account.address)
            for account in self._accounts
        }
        for to, data, value in calls:
            account = self._rng.choice(self._accounts)
            nonce = nonces[account.address]
            nonces[account.address] += 1
            await self._send(account, nonce, to, data, value)
        self.asked += len(calls)

    async def wait(self) -> bool:
        """
        Return whether a request waits to be mined.
        """
        for account in self._accounts:
            mined = await self._reader.nonce(account.address)
            if await transact.pending_nonce(self._reader, account.address) > mined:
                return True
        return False

    async def _send(
        self, account: LocalSigner, nonce: int, to: str, data: bytes, value: int
    ) -> None:
        # Who pays more comes first in a block: after a reorg the order is another one.
        tip = self._rng.randint(1, 10**9)
        raw, hash_ = account.sign(
            UnsignedTransaction(
                chain_id=CHAIN_ID,
                nonce=nonce,
                to=to,
                data=data,
                value=value,
                gas_limit=_GAS,
                fees=Fees(_MAX_FEE, tip),
            )
        )
        self.raw[hash_] = raw
        try:
            await self._reader.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        except AnsweredError:
            # A transaction that a reorg brought back waits at this nonce: a request as well.
            return
