"""Epochs: every block has one phase, quiet windows come and go, and a test can call for one."""

from hypothesis import given
from hypothesis import strategies as st

from tallygate.devnet.chain import FIRST_HEIGHT, NS_PER_S
from tallygate.devnet.epochs import EPOCH_BLOCKS_MIN, Epochs, Phase
from tests.devnet.conftest import World
from tests.devnet.wire import control, request

ORDER = list(Phase)


@given(length=st.integers(EPOCH_BLOCKS_MIN, 50_000), blocks=st.integers(0, 200_000))
def test_epochs_follow_each_other_without_gaps(length: int, blocks: int) -> None:
    """Each block lies in exactly one epoch, which ends where the next begins; its stages are in order."""
    epochs = Epochs(FIRST_HEIGHT, length)
    height = FIRST_HEIGHT + blocks
    epoch = epochs.at(height)
    assert epoch.start <= height < epoch.next_start
    assert epochs.at(epoch.next_start).index == epoch.index + 1
    assert epochs.at(epoch.next_start).start == epoch.next_start
    firsts = [epoch.first_block_of(phase) for phase in ORDER]
    assert firsts == sorted(set(firsts))
    assert epoch.new_validators < epoch.next_start
    assert [epochs.phase_at(first) for first in firsts] == ORDER


@given(phase=st.sampled_from(ORDER), blocks=st.integers(0, 50_000))
def test_a_phase_can_be_called_for(phase: Phase, blocks: int) -> None:
    """It begins in the wanted block; only the first phase is of a new epoch."""
    epochs = Epochs(FIRST_HEIGHT)
    height = FIRST_HEIGHT + blocks
    before = epochs.at(height).index
    epochs.enter(phase, height)
    assert epochs.at(height).first_block_of(phase) == height
    assert epochs.phase_at(height) is phase
    assert epochs.at(height).index == before + (phase is Phase.GENERATE)


def test_new_participants_take_over_after_the_window() -> None:
    """During its window an epoch's number is told already, but the one before is in charge."""
    epochs = Epochs(FIRST_HEIGHT)
    epochs.enter(Phase.GENERATE, FIRST_HEIGHT)
    epoch = epochs.at(FIRST_HEIGHT)
    assert epochs.effective_index(FIRST_HEIGHT) == epoch.index - 1
    assert epochs.effective_index(epoch.new_validators) == epoch.index


async def test_a_quiet_window(world: World) -> None:
    """In it nodes have no executors, and the Bearer gateway admits nobody; its end is told, and then all is well."""
    await control(world.url, "POST", "network", {"phase": "PoCGenerate"})
    answer = await world.chat()
    assert (answer.status, answer.json()) == (503, {"error": "no executors available for model"})
    latest = (await request(world.url, "GET", "/v1/epochs/latest")).json()
    assert latest["phase"] == "PoCGenerate"
    bearer = {"authorization": f"Bearer {world.devnet.bearer_key}"}
    url = world.devnet.bearer_url.removesuffix("/v1")
    body = b'{"model":"MiniMaxAI/MiniMax-M2.7","messages":[{"role":"user","content":"Hi"}]}'
    refused = await request(url, "POST", "/v1/chat/completions", bearer, body)
    assert refused.status == 503
    assert refused.json()["error"]["message"].startswith("admission blocked")
    blocks = latest["epoch_stages"]["poc_validation_end"] - latest["block_height"]
    world.clock.time_ns += blocks * 5 * NS_PER_S
    assert (await world.chat()).status == 200
    assert (await request(url, "POST", "/v1/chat/completions", bearer, body)).status == 200


async def test_a_confirmation_is_told_and_served_through(world: World) -> None:
    """A confirmation of the proof of compute stands in `/v1/epochs/latest`; nodes serve on."""
    await control(world.url, "POST", "network", {"confirmation_poc": True})
    latest = (await request(world.url, "GET", "/v1/epochs/latest")).json()
    assert latest["is_confirmation_poc_active"] is True
    assert latest["active_confirmation_poc_event"]["epoch_index"] == latest["latest_epoch"]["index"]
    assert (await world.chat()).status == 200
