"""The database of studies: Optuna's own storage, made safe for several workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sb3_course.config.errors import InputError

_PATIENCE = 60.0  # seconds that SQLite waits for another writer


class NoTicketError(Exception):
    """Every trial of the budget is taken."""


class StudyStorage(RDBStorage):
    """Optuna's database storage, made safe for several workers on SQLite.

    On SQLite, Optuna reads a row's state and then writes it, so that two workers can take the same trial; here every
    transaction takes the write lock when it begins.

    :param url: SQLAlchemy's URL of a database
    :param may_create: whether `Study.ask` may make a trial where none is waiting; False for the workers of a budget
    """

    def __init__(self, url: str, may_create: bool = True) -> None:
        self.may_create = may_create
        _refuse_foreign_tables(url)
        sqlite = sa.engine.make_url(url).get_backend_name() == "sqlite"
        super().__init__(url, {"connect_args": {"timeout": _PATIENCE}} if sqlite else {"pool_pre_ping": True})
        if sqlite:
            sa.event.listen(self.engine, "connect", _leave_transactions_to_us)
            sa.event.listen(self.engine, "begin", _lock_for_writing)
            self.engine.dispose()  # what is connected already does not listen
        tables = sa.MetaData()
        tables.reflect(self.engine, only=("studies", "trials", "trial_user_attributes", "trial_heartbeats"))
        self.tables = tables.tables

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if template_trial is None and not self.may_create:
            raise NoTicketError
        return super()._create_new_trial(study_id, template_trial)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        """Set a trial's state; one that starts has a heartbeat before anybody can see it running."""
        if state == TrialState.RUNNING:
            self.record_heartbeat(trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    @contextmanager
    def exclusively(self, study_id: int) -> Iterator[sa.Connection]:
        """Yield a connection in one transaction that no other one of this kind on the study runs beside."""
        studies = self.tables["studies"]
        with self.engine.begin() as connection:
            connection.execute(sa.select(studies.c.study_id).where(studies.c.study_id == study_id).with_for_update())
            yield connection


def _refuse_foreign_tables(url: str) -> None:
    engine = sa.create_engine(url)
    try:
        names = set(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "studies" in names and "version_info" not in names:
        raise RuntimeError("its table 'studies' is another program's")


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    connection.isolation_level = None


def _lock_for_writing(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def open_storage(url: str, may_create: bool = True) -> StudyStorage:
    """Return the storage at a URL, its tables made where they are missing.

    :param url: `sqlite:///file.db`, `postgresql://...`, or the path of an SQLite file
    :param may_create: as in `StudyStorage`
    :raises InputError: when it cannot be opened or is no database of Optuna's
    """
    full = storage_url(url)
    try:
        return StudyStorage(full, may_create)
    except (sa.exc.SQLAlchemyError, StorageInternalError, RuntimeError, ImportError, OSError, ValueError) as error:
        raise unusable(full, error) from None


def unusable(url: str, error: Exception) -> InputError:
    """Return the refusal of a storage that `error` came from."""
    cause: Any = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    cause = getattr(cause, "orig", None) or cause
    reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
    return InputError("--storage", f"cannot be used: {reason}", safe_url(url), "a writable database")


def storage_url(url: str) -> str:
    """Return a URL for what may be a path.

    :raises InputError: for what is neither
    """
    if not url.strip():
        raise InputError("--storage", "is empty", url, "sqlite:///file.db or another SQLAlchemy URL")
    if "://" not in url:
        if Path(url).is_dir():
            raise InputError("--storage", "is a folder", url, "the path of a file")
        return f"sqlite:///{url}"
    return url


def safe_url(url: str) -> str:
    """Return the URL without its password."""
    try:
        return sa.engine.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return url
