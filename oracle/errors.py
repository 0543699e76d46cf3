"""
Every error that the package raises on purpose.

    OracleError
    ├── ConfigError                 what a person configured cannot be run: exit code 2
    │   ├── PortInUseError
    │   ├── DatabaseLockedError
    │   └── NoDatabaseError
    ├── DatabaseUnavailableError    (retryable) the database cannot be worked on now
    ├── DatabaseFailedError         full, read-only or damaged: stop, a person has to act
    ├── DatabaseTakenError          somebody acted on the database while this process had lost it
    ├── SourceError                 an entropy source
    │   ├── SourceUnavailableError  (retryable) down, empty or out of reach: retry with backoff
    │   ├── SourceThrottledError    (retryable) after `retry_after` seconds
    │   ├── SourceQuotaError        exhausted until `resets_at`
    │   ├── SourceCredentialsError  wrong until a person acts
    │   ├── SourceTrustError        its certificate does not verify
    │   ├── SourceReplyError        twice in a row: quarantined
    │   │   └── SourceHealthError   at once: quarantined
    │   └── SimulatedEntropyError
    ├── PoolError                   the encrypted pool
    │   ├── PoolKeyError
    │   ├── PoolLowError            (retryable) it holds too few blocks now
    │   └── SeedGoneError
    ├── GatewayError                a client of the gateway that gets nothing
    │   ├── KeyRefusedError
    │   ├── ParametersError
    │   └── RateLimitedError        (retryable, after `retry_after` seconds)
    │       └── QuotaExhaustedError
    ├── ChainError                  an endpoint or what it says
    │   ├── EndpointError           (retryable)
    │   │   ├── UnreachableError    (retryable) nobody listens there, or the line was cut
    │   │   ├── ThrottledError      (retryable, after `retry_after` seconds)
    │   │   ├── OtherChainError     (retryable, elsewhere) refused until a restart
    │   │   ├── AnsweredError       (retryable)
    │   │   │   └── PrunedError     (retryable, elsewhere) it keeps no history that old
    │   │   └── RevertedError       (retryable)
    │   └── InconsistentChainError  (retryable)
    │       └── ForgedLogError      (retryable) no contract emits such a log: an endpoint lies
    ├── BadParametersError          an Airnode request that can never be served, and why
    │   └── UndecodableParametersError
    ├── InsufficientFundsError      (retryable, once funded)
    ├── PackageError                what only a benchmark needs of npm cannot be had
    ├── LeaseLostError              (retryable) another node does this now
    ├── StaleStateError             a compare-and-set found another state than expected
    └── InvariantError              the store and the chain contradict each other: stop, never
    guess

A message is one sentence that says what to do.
It never holds a key, a credential, a URL's query or entropy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class OracleError(Exception):
    """
    The base of the tree; `retryable` says whether the same act may succeed later by itself.
    """

    retryable: bool = False


def one_of(group: ExceptionGroup[Exception]) -> Exception:
    """
    Return the error that stands for those of tasks that ran at once: one that does not pass by
    itself if there is any, and one that nobody raised on purpose before all others.
    """
    errors = [
        one_of(error) if isinstance(error, ExceptionGroup) else error for error in group.exceptions
    ]
    return min(
        errors,
        key=lambda error: (isinstance(error, OracleError), getattr(error, "retryable", False)),
    )


class ConfigError(OracleError):
    """
    What a person configured cannot be run.
    """


class PortInUseError(ConfigError):
    """
    A port that a server was told to listen on is taken.
    """


class DatabaseLockedError(ConfigError):
    """
    Another process holds the store.
    """


class NoDatabaseError(ConfigError):
    """
    There is no store yet at the place that is named.
    """


class DatabaseUnavailableError(OracleError):
    """
    The database is out of reach, restarts, or is held up: nothing was written that is known of.
    """

    retryable = True


class DatabaseFailedError(OracleError):
    """
    The database cannot be read or written, and will not be by itself.
    """


class DatabaseTakenError(OracleError):
    """
    While this process had lost the database somebody acted on it: what the process remembers of it
    may be wrong, so that it has to be started again.
    """


class SourceError(OracleError):
    """
    An entropy source did not deliver.
    """


class SourceUnavailableError(SourceError):
    """
    The source is down, empty or out of reach.
    """

    retryable = True


class SourceThrottledError(SourceError):
    """
    The source asks for a pause of `retry_after` seconds.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SourceQuotaError(SourceError):
    """
    The quota of the account is used up until `resets_at`, where that is known.
    """

    def __init__(self, message: str, *, resets_at: datetime | None = None) -> None:
        super().__init__(message)
        self.resets_at = resets_at


class SourceCredentialsError(SourceError):
    """
    The source refuses the credentials, or they cannot be sent at all.
    """


class SourceTrustError(SourceError):
    """
    TLS could not prove who the server is, so nothing was sent to it.
    """


class SourceReplyError(SourceError):
    """
    A reply was malformed, short, long, repeated, constant or cached: the whole draw was destroyed.
    """


class SourceHealthError(SourceReplyError):
    """
    The bytes of a reply failed a health test, or were seen before: the whole draw was destroyed.

    `failure` is the word for which test it was.
    """

    def __init__(self, message: str, *, failure: str) -> None:
        super().__init__(message)
        self.failure = failure


class SimulatedEntropyError(SourceError):
    """
    A source says that its entropy is simulated, and this is no devnet.
    """


class PoolError(OracleError):
    """
    The encrypted pool cannot do what was asked.
    """


class PoolKeyError(PoolError):
    """
    The pool key is missing, malformed, or not the one that encrypted the pool.
    """


class PoolLowError(PoolError):
    """
    The pool holds too few blocks: others bound what was there a moment ago.
    """

    retryable = True


class SeedGoneError(PoolError):
    """
    The seed of an index is not, or no longer, in the pool.
    """


class GatewayError(OracleError):
    """
    A client of the gateway may not draw, or not now.
    """


class KeyRefusedError(GatewayError):
    """
    The key is missing, unknown, revoked, or not meant for this dialect.
    """


class ParametersError(GatewayError):
    """
    A parameter is missing or out of its range.
    """


class RateLimitedError(GatewayError):
    """
    The client draws faster than its rate; it may come back after `retry_after` seconds.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExhaustedError(RateLimitedError):
    """
    The client has drawn its quota of this month.
    """


class ChainError(OracleError):
    """
    The chain, or an endpoint that speaks for it.
    """


class EndpointError(ChainError):
    """
    An endpoint did not answer, or answered with an error.
    """

    retryable = True


class UnreachableError(EndpointError):
    """
    An endpoint could not be reached at all.
    """


class ThrottledError(EndpointError):
    """
    An endpoint wants to be asked less, and again after `retry_after` seconds: 0 where it says
    nothing of that.
    """

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OtherChainError(EndpointError):
    """
    An endpoint serves another chain than it is configured for.
    """


class AnsweredError(EndpointError):
    """
    An endpoint answered, and its answer is an error.
    """


class PrunedError(AnsweredError):
    """
    An endpoint does not keep the history that was asked for.
    """


class RevertedError(EndpointError):
    """
    A call reverted: the contract is not what it was taken for, or refuses it; `data` is what it
    said, an encoded error.
    """

    def __init__(self, message: str, *, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


class InconsistentChainError(ChainError):
    """
    Two answers of an endpoint contradict each other, as they do around a reorg.
    """

    retryable = True


class ForgedLogError(InconsistentChainError):
    """
    A log, or what it refers to, is not what its id is the hash of: no contract says so, but an
    endpoint that lies.
    """


class BadParametersError(OracleError):
    """
    The parameters of an Airnode request ask for what its endpoint cannot give.

    `reason` is the word for it, which is written down with the request.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class UndecodableParametersError(BadParametersError):
    """
    The parameters of an Airnode request are not Airnode ABI; an Airnode drops such a request.
    """


class InsufficientFundsError(OracleError):
    """
    A wallet cannot pay for its next transaction.
    """

    retryable = True


class PackageError(OracleError):
    """
    A package of npm, or a contract in it, that only a benchmark needs cannot be had.
    """


class LeaseLostError(OracleError):
    """
    Another node holds the lease under which something was to be written: nothing was.
    """

    retryable = True


class StaleStateError(OracleError):
    """
    A compare-and-set found another state than the expected one; nothing was written.
    """


class InvariantError(OracleError):
    """
    The store and the chain contradict each other in a way that no reorg explains.
    """
