"""Names, once the commitments of every entry about them are opened."""

from collections.abc import Iterable

from taskpass.core.audit.pseudonyms import Person
from taskpass.ledger.log.reader import TamperEvidence
from taskpass.ledger.verify.replay import Replay


def known(people: Iterable[Person], replay: Replay) -> dict[str, Person]:
    """Return everybody who was not erased, by reference, with every commitment opened.

    `people` are those that are noted, `replay` is what the log's entries come to. Somebody of whom
    only entries spoke that a version of before has pruned is not among them: nothing proves the
    name.

    Raises:
        TamperEvidence: A name is not the one that the log's entries were about; or it is gone, and
            no entry says that it was erased; or it is there, and one says that it was.

    """
    found = {}
    for person in people:
        ref = person.ref
        commitments = replay.people.get(ref, set())
        if ref in replay.erased:
            raise TamperEvidence(f"there is a name for {ref}, and an entry says that it was erased")
        if not commitments and not replay.untold:
            raise TamperEvidence(f"there is a name for {ref}, of whom no entry speaks")
        if commitments - {person.fields()["c"]}:
            raise TamperEvidence(f"the name noted for {ref} is not whom the log's entries mean")
        if commitments:
            found[ref] = person
    for ref in sorted(replay.people.keys() - found.keys() - replay.erased):
        raise TamperEvidence(f"the name of {ref} is gone, and no entry says that it was erased")
    return found
