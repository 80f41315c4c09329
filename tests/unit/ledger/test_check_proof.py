"""`docs/check-proof.sh`, which whoever is shown a proof runs: it believes nothing that it reads."""

import asyncio
import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskpass.cli.audit import audit
from taskpass.ledger.export.directory import export
from taskpass.ledger.log.key_history import declared_key
from taskpass.ledger.log.reader import reading
from taskpass.ledger.log.signing import SeedSigner
from taskpass.ledger.maintain.rotate import rotate
from taskpass.tlog.checkpoint import PublicKey
from taskpass.tlog.merkle import inclusion_proof
from taskpass.tlog.proof import TlogProof
from taskpass.tlog.tiles import TileSubtrees
from tests.unit.ledger import objects

SCRIPT = Path(__file__).parents[3] / "docs/check-proof.sh"
SIZE, INDEX = 8, 5
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with the proof of one of eight entries, the entry and the key."""
    place = tmp_path_factory.mktemp("original")

    async def write() -> None:
        ledger = objects.opened(place / "ledger.db")
        await objects.filled(ledger, SIZE)
        ledger.close()

    asyncio.run(write())
    prove(place)
    return place


def prove(place: Path) -> None:
    export(place / "ledger.db", place / "export")
    asked = ["prove", "inclusion", f"{INDEX}", "--out", place, "--dir", place / "export"]
    assert CliRunner().invoke(audit, [str(each) for each in asked]).exit_code == 0
    shutil.copy(place / "export/vkey", place / "vkey")


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def checked(place: Path, shell: str, *, vkey: bool = True) -> tuple[int, str]:
    files = [f"{INDEX}.tlog-proof", f"{INDEX}.json", *(["vkey"] if vkey else [])]
    done = subprocess.run(
        [shell, SCRIPT, *files], cwd=place, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def edit(place: Path, old: str, new: str) -> None:
    proof = place / f"{INDEX}.tlog-proof"
    text = proof.read_text()
    assert old in text
    proof.write_text(text.replace(old, new, 1))


def test_a_proof_is_walked_with_and_without_the_key(place: Path, shell: str) -> None:
    assert checked(place, shell) == (
        0, f"Signature Verified Successfully\nOK entry {INDEX} of {SIZE}\n"
    )  # fmt: skip
    assert checked(place, shell, vkey=False) == (0, f"OK entry {INDEX} of {SIZE}\n")


@pytest.mark.parametrize(
    "index", [f"{INDEX + SIZE}", f"0{INDEX}", f"0x{INDEX}", f" {INDEX}", f"{INDEX}+0", "", "-3"]
)
def test_an_index_is_a_number_of_an_entry_of_the_log(place: Path, shell: str, index: str) -> None:
    """One that is larger by the log's size leads the same way to the root."""
    edit(place, f"index {INDEX}\n", f"index {index}\n")

    assert checked(place, shell) == (1, "REFUSED: it names no entry of a log\n")


@pytest.mark.parametrize("where", ["index", "size", "origin"])
def test_nothing_that_a_proof_says_is_run(place: Path, shell: str, where: str) -> None:
    proof = (place / f"{INDEX}.tlog-proof").read_text().splitlines(keepends=True)
    origin = proof[proof.index("\n") + 1].strip()
    match where:
        case "index":
            edit(place, f"index {INDEX}\n", "index work[$(touch run)]\n")
        case "size":
            edit(place, f"\n{SIZE}\n", "\nwork[$(touch run)]\n")
        case "origin":  # of GNU's sed, `e` runs what was found
            edit(place, f"{origin}\n", "x|touch run|e;s|y\n")
            edit(place, f"— {origin} ", "— x ")

    code, said = checked(place, shell)

    assert (code, "REFUSED" in said) == (1, True)
    assert not (place / "run").exists()


def test_another_entry_signature_or_log_is_refused(original: Path, place: Path, shell: str) -> None:
    signature = (place / f"{INDEX}.tlog-proof").read_text().split()[-1]
    raw = bytearray(base64.b64decode(signature))
    raw[-1] ^= 1
    edit(place, signature, base64.b64encode(bytes(raw)).decode())
    wrong = checked(place, shell)
    edit(place, base64.b64encode(bytes(raw)).decode(), signature)
    (place / f"{INDEX}.json").write_text("{}")
    other = checked(place, shell)
    vkey = (place / "vkey").read_text()
    (place / "vkey").write_text(vkey.replace("/log-", "/log-0"))
    shutil.copy(original / f"{INDEX}.json", place)
    another = checked(place, shell)

    assert (wrong[0], other[0]) == (1, 1)
    assert another == (1, "REFUSED: it is of another log than the key\n")
    assert "the signature of its checkpoint is not the key's" in wrong[1]
    assert other[1] == f"REFUSED: it is not entry {INDEX} under this checkpoint\n"


def test_of_a_checkpoint_that_two_keys_signed_the_one_that_is_known_counts(
    tmp_path: Path, shell: str
) -> None:
    async def write() -> None:
        ledger = objects.opened(tmp_path / "ledger.db")
        await objects.filled(ledger, SIZE)
        ledger.close()

    asyncio.run(write())
    ours, theirs = SeedSigner(objects.SEED), SeedSigner(bytes(32))
    rotate(tmp_path / "ledger.db", ours, theirs, reason="yearly", now=objects.NOW)
    prove(tmp_path)
    with reading(tmp_path / "ledger.db") as log:
        ((size, note),) = log.handovers().items()
        path = inclusion_proof(INDEX, size, TileSubtrees(log.size, log.tile))
        origin = declared_key(log).name
    (tmp_path / f"{INDEX}.tlog-proof").write_text(TlogProof(INDEX, tuple(path), note).text())

    for signer in (ours, theirs):
        vkey = PublicKey(origin, signer.public_key).vkey()
        (tmp_path / "vkey").write_text(f"{vkey}\n")
        assert checked(tmp_path, shell)[0] == 0
