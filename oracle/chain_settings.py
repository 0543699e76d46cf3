"""
What the sections of all chains have in common, whatever is served there.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from oracle.given import check_address
from oracle.source_settings import Section

Address = Annotated[str, AfterValidator(check_address)]
# What a variable's name can carry too.
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class URL(SecretStr):
    """
    The URL of an endpoint: kept like a secret, because keys are put into URLs.
    """


class EndpointSettings(Section):
    """
    A chain, who speaks for it, and what is paid there.
    """

    chain_id: Annotated[int, Field(gt=0)]  #: must be what the endpoint says
    #: JSON-RPC over HTTP; the first one that works is read from, others have to agree with it
    endpoints: Annotated[list[URL], Field(min_length=1)]
    websocket: URL | None = None  #: ws:// or wss://, announces new heads: they need no polling
    devnet: bool = False  #: a throw-away chain: simulated entropy and well-known keys are allowed
    #: the first endpoint, and no other, is the operator's own; default on a devnet
    trusted: bool | None = None
    #: depth at which a block counts; default: 12, on a devnet 0
    confirmations: Annotated[int, Field(ge=0)] | None = None
    max_fee_gwei: Annotated[Decimal, Field(gt=0)] = Decimal(200)  #: never pay more per gas
    priority_fee_gwei: Annotated[Decimal, Field(ge=0)] = Decimal("0.1")  #: on top of the base fee
    max_priority_fee_gwei: Annotated[Decimal, Field(ge=0)] = Decimal(5)  #: for replacements

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.confirmations == 0 and not self.devnet:
            raise ValueError("confirmations = 0 would reveal seeds that a reorg can take back")
        if not self.priority_fee_gwei <= self.max_priority_fee_gwei <= self.max_fee_gwei:
            raise ValueError(
                "priority_fee_gwei, max_priority_fee_gwei and max_fee_gwei must rise in this order"
            )
        return self

    @property
    def is_trusted(self) -> bool:
        """
        Whether the first endpoint needs no second opinion.
        """
        return self.devnet if self.trusted is None else self.trusted

    @property
    def depth(self) -> int:
        """
        Blocks on top of a block before it counts as settled: 12 unless configured, 0 on a devnet.
        """
        if self.confirmations is not None:
            return self.confirmations
        return 0 if self.devnet else 12
