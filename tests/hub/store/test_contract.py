"""The SQLite store keeps the contract of a store."""

from tests.hub.store.contract import StoreContract


class TestSqliteStore(StoreContract):
    """The contract."""
