"""All that we use of Optuna beyond its documented interface; `tests/test_internals.py` has a row for each name."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study import Study

from sb3_course.tuning.idle import IdleClosing


def database(url: str, engine_kwargs: dict[str, Any]) -> BaseStorage:
    """Return Optuna's storage on a database, with its cache of finished trials.

    On SQLite, Optuna reads a row's state and then writes it, so that two workers could take the same trial; there every
    transaction takes the write lock when it begins. Other databases lock the row (`SELECT ... FOR UPDATE`).

    :param url: SQLAlchemy's
    :param engine_kwargs: of `sqlalchemy.create_engine`
    """
    storage = RDBStorage(url, engine_kwargs)
    if storage.engine.dialect.name == "sqlite":
        sa.event.listen(storage.engine, "connect", _leave_transactions_to_us)
        sa.event.listen(storage.engine, "begin", _lock_for_writing)
    else:
        IdleClosing(storage.engine)
    storage.engine.dispose()  # what is connected already does not listen, and would not survive a fork
    return get_storage(storage)


def storage_behind(study: Study) -> BaseStorage:
    """Return the storage that a study writes to."""
    return study._storage


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _lock_for_writing(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
