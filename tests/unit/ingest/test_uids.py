"""Which mails of a folder have been read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.uids import FolderLook, FolderState, UidSet, has_moved, starting_point, unread


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_what_lies_there_and_was_not_read_is_found_wherever_the_hole_is(read: set[int], there: set[int]) -> None:
    state = FolderState(7, 60, UidSet.of(read))
    assert unread(state, there) == sorted(there - read)
    assert UidSet(UidSet.of(read).ranges).ranges == UidSet.of(read).ranges


def test_a_folder_that_was_made_anew_is_read_from_its_beginning() -> None:
    state = FolderState(7, 60, UidSet.of(range(1, 61)), total=60)
    again = starting_point(state, FolderLook(8, 60))
    assert (again.last_uid, unread(again, [1, 2])) == (0, [1, 2])
    assert starting_point(state, FolderLook(7, 61)) is state


def test_only_new_mails_leave_a_folder_as_it_was() -> None:
    state = FolderState(7, 60, total=60)
    assert not has_moved(state, FolderLook(7, 62), new=2)
    assert has_moved(state, FolderLook(7, 61), new=2)
    assert has_moved(state, FolderLook(7, 62), new=1)
    assert has_moved(FolderState(7, 0), FolderLook(7, 0), new=0)
