"""What any store must do (hub/store/interface.py), as tests.

Put a store under it by a subclass of `StoreContract` in a module with a fixture `bench`, which
gives each test a `tests.hub.store.bench.Bench`: once with everything written behind the log, and
once with nothing of it.
"""

from tests.hub.store.contract_durability import DurabilityContract
from tests.hub.store.contract_histories import HistoryContract
from tests.hub.store.contract_pushes import PushContract
from tests.hub.store.contract_reading import ReadingContract
from tests.hub.store.contract_refill import RefillContract
from tests.hub.store.contract_retention import RetentionContract


class StoreContract(
    PushContract,
    ReadingContract,
    DurabilityContract,
    HistoryContract,
    RetentionContract,
    RefillContract,
):
    """The interface's promises, one by one."""
