"""What the commands share that read the file of a store themselves, whoever else has it open."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tallygate.cli.exits import Exit, Failure
from tallygate.core.errors import Code
from tallygate.core.ledger.records import UnknownAccountError
from tallygate.core.ledger.statement import BooksDisagreeError
from tallygate.storage.keeping.backup import DamagedBackupError
from tallygate.storage.keeping.dump import DamagedBooksError
from tallygate.storage.keeping.load import DamagedDumpError
from tallygate.storage.sqlite import NotAStoreError, StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def telling(store: Path | None = None) -> Iterator[None]:
    """Turn what stands in the way into the ending of the command; first of all, that there is no store."""
    try:
        if store is not None and not store.exists():
            raise Failure(Exit.FAILED, f"There is no store at {store}; `tallygate init` makes one.")
        yield
    except UnknownAccountError:
        error = {"message": "There is no such account.", "code": Code.NOT_FOUND.value}
        raise Failure(Exit.NOT_FOUND, error["message"], {"error": error}) from None
    except (BooksDisagreeError, DamagedBooksError, DamagedBackupError) as error:
        raise Failure(Exit.DIFFERENCE, f"The books do not add up: {error}. `tallygate verify` says more.") from None
    except DamagedDumpError as error:
        raise Failure(Exit.DIFFERENCE, f"The dump cannot be loaded: {error}.") from None
    except StoreLockedError as error:
        raise Failure(Exit.STORE_LOCKED, f"A{str(error)[1:]}.") from None
    except (NotAStoreError, FileExistsError) as error:
        text = str(error)
        raise Failure(Exit.FAILED, f"{text[:1].upper()}{text[1:]}.") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(Exit.FAILED, f"{error.filename or 'The file'} cannot be used: {error.strerror}.") from None
