"""
Requests to the Airnode, as `oracle requests` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oracle.cli.requests_native import stamp
from oracle.errors import BadParametersError, OracleError, UndecodableParametersError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_request import AirnodeRequest, Template
    from oracle.airnode_settings import AirnodeChainSettings
    from oracle.config import Settings
    from oracle.explain import Reason
    from oracle.protocols.airnode_abi import Value, Wanted
    from oracle.request import RequestKey, Tracked
    from oracle.store.airnode import Answer
    from oracle.store.retention import Pruned

AIRNODE = "airnode"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """
    What a request names and says, as far as that can be read.
    """

    endpoint_id: bytes | None
    parameters: Mapping[str, Value] | None
    wanted: Wanted | None
    complaint: str | None


async def document_of(
    connection: AsyncConnection, settings: Settings, tracked: Tracked[AirnodeRequest]
) -> dict[str, Any]:
    """
    Return everything that is known of a request, for people and programs; no number that is not
    public.
    """
    from oracle.store import airnode  # noqa: PLC0415 - SQLAlchemy is slow to import

    request = tracked.request
    template = None
    if request.template_id is not None:
        known = await airnode.templates(connection, [request.template_id])
        template = known.get(request.template_id)
    answers = await airnode.answers(connection, [request.key])
    answer, chain = answers[request.key], _chain_of(settings, request.key)
    asked = _read(request, template, chain)
    why = await _explained(connection, settings, tracked, answer, asked)
    return _document(tracked, why, answer, asked)


def _chain_of(settings: Settings, key: RequestKey) -> AirnodeChainSettings | None:
    chains = {} if settings.airnode is None else settings.airnode.chains
    place = (key.chain_id, key.contract)
    return next((one for one in chains.values() if (one.chain_id, one.contract) == place), None)


def _read(
    request: AirnodeRequest, template: Template | None, chain: AirnodeChainSettings | None
) -> _Asked:
    from oracle.protocols.airnode_abi import (  # noqa: PLC0415 - eth_abi is slow to import
        decode_parameters,
        merge,
        read_wanted,
    )

    endpoint_id = request.endpoint_id if template is None else template.endpoint_id
    parameters, wanted, complaint = None, None, None
    try:
        own = decode_parameters(request.parameters)
        parameters = merge(decode_parameters(template.parameters), own) if template else own
        endpoint = None if endpoint_id is None else f"0x{endpoint_id.hex()}"
        if chain is not None and endpoint in {*chain.uint256, *chain.uint256_array}:
            wanted = read_wanted(parameters, array=endpoint in chain.uint256_array)
    except (UndecodableParametersError, BadParametersError) as error:
        complaint = str(error)
    return _Asked(
        endpoint_id=endpoint_id, parameters=parameters, wanted=wanted, complaint=complaint
    )


async def _explained(
    connection: AsyncConnection,
    settings: Settings,
    tracked: Tracked[AirnodeRequest],
    answer: Answer,
    asked: _Asked,
) -> Reason:
    from oracle.cli.airnodes import policy_of  # noqa: PLC0415 - web3 is slow to import
    from oracle.explain_airnode import KnownAirnode, explain_airnode  # noqa: PLC0415
    from oracle.store import transactions  # noqa: PLC0415
    from oracle.store.airnode_evidence import foreign_among  # noqa: PLC0415
    from oracle.store.attempts import attempts_of  # noqa: PLC0415
    from oracle.store.cursors import get_cursor  # noqa: PLC0415

    request = tracked.request
    chain = _chain_of(settings, request.key)
    cursor = await get_cursor(connection, request.key.chain_id, request.key.contract)
    slot, attempts = None, []
    if tracked.transaction_id is not None:
        slot = await transactions.get_slot(connection, tracked.transaction_id)
        attempts = await attempts_of(connection, slot.id)
    wrong = tracked.reason == "wrong_sponsor_wallet"
    return explain_airnode(
        KnownAirnode(
            tracked=tracked,
            answer=answer,
            policy=None if chain is None else policy_of(chain),
            depth=0 if chain is None else chain.depth,
            scanned=None if cursor is None else cursor.number,
            slot=slot,
            attempts=attempts,
            wish=None if asked.wanted is None else asked.wanted.min_confirmations,
            complaint=asked.complaint,
            foreign=bool(await foreign_among(connection, [request.key])),
            right_wallet=_right_wallet(settings, request) if wrong else None,
        )
    )


def _right_wallet(settings: Settings, request: AirnodeRequest) -> str | None:
    """
    Return the wallet of a request's sponsor, from the xpub that the mnemonic's file announces.
    """
    from oracle.chain.mnemonics import announced  # noqa: PLC0415 - eth_account is slow to import
    from oracle.given import read_secret_file  # noqa: PLC0415

    if settings.airnode is None:
        return None
    path = settings.airnode.mnemonic_file
    try:
        xpub = announced(read_secret_file(path), path)
    except OracleError:
        return None
    return xpub.sponsor_wallet(request.sponsor) if xpub.airnode == request.airnode else None


def tombstone(pruned: Pruned) -> dict[str, Any]:
    """
    Return what is known of a request that was pruned.
    """
    from oracle.explain_airnode import explain_pruned_airnode  # noqa: PLC0415 - slow to import

    why = explain_pruned_airnode(pruned)
    return {
        "requestId": _hex(pruned.key.request_id),
        "protocol": AIRNODE,
        "state": str(pruned.state),
        "prunedAt": stamp(pruned.pruned_at),
        "reason": why.code,
        "explanation": why.sentence,
        "chainId": pruned.key.chain_id,
        "airnodeRrp": pruned.key.contract,
        "requestBlock": pruned.block_number,
        "fulfillmentBlock": pruned.outcome_block,
        "callbackSucceeded": pruned.callback_succeeded,
    }


def _document(
    tracked: Tracked[AirnodeRequest], why: Reason, answer: Answer, asked: _Asked
) -> dict[str, Any]:
    made, outcome, wanted = tracked.request, tracked.outcome, asked.wanted
    shortage = answer.shortage if tracked.reason == "wallet_unfunded" else None
    return {
        "requestId": _hex(made.key.request_id),
        "protocol": AIRNODE,
        "state": str(tracked.state),
        "prunedAt": None,
        "reason": why.code,
        "explanation": why.sentence,
        "chainId": made.key.chain_id,
        "airnodeRrp": made.key.contract,
        "airnode": made.airnode,
        "requester": made.requester,
        "kind": str(made.kind),
        "templateId": _hex(made.template_id),
        "endpointId": _hex(asked.endpoint_id),
        "parameters": _hex(made.parameters),
        "parametersSay": None if asked.parameters is None else dict(asked.parameters),
        "parametersError": asked.complaint,
        "numWords": answer.num_words or (wanted.words if wanted else None),
        "array": wanted.array if wanted and answer.array is None else answer.array,
        "minConfirmations": wanted.min_confirmations if wanted else None,
        "sponsor": made.sponsor,
        "sponsorWallet": made.sponsor_wallet,
        "fulfillAddress": made.fulfill_address,
        "fulfillFunctionId": _hex(made.fulfill_function_id),
        "firstSeenAt": stamp(tracked.created_at),
        "releasedAt": _when(answer.released_at),
        "drawnAt": _when(answer.drawn_at),
        "heldSince": _when(answer.held_since),
        "exposedAt": _when(answer.exposed_at),
        "failure": answer.failure,
        "neededWei": shortage.needed if shortage else None,
        "balanceWei": shortage.had if shortage else None,
        "missingWei": shortage.missing if shortage else None,
        "data": _hex(answer.data),
        "costWei": tracked.cost,
        "requestBlock": made.block_number,
        "requestTransaction": _hex(made.transaction_hash),
        "fulfillmentBlock": outcome.block_number if outcome else None,
        "fulfillmentTransaction": _hex(outcome.transaction_hash) if outcome else None,
        "callbackSucceeded": outcome.callback_succeeded if outcome else None,
    }


def _hex(raw: bytes | None) -> str | None:
    return None if raw is None else "0x" + raw.hex()


def _when(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else stamp(milliseconds)
