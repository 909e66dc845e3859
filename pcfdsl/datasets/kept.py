"""Scenes that stay in memory once they were made or read, up to a limit: small sets are seen again every epoch."""

from collections.abc import Sequence

from pcfdsl.scene.boxes import Scene, SceneSequence

__all__ = ["KeptScenes"]

_MAX_BYTES = 64 * 2**20  # of each process that loads


class KeptScenes(SceneSequence):
    """The scenes of another sequence, unchanged but for their arrays, which cannot be written to.

    Args:
        scenes: Scenes that are always the same for the same index. Pickles carry them, and nothing that is kept.
        max_bytes: Once the scenes that are kept are this large, others are made or read anew each time.
    """

    def __init__(self, scenes: Sequence[Scene], *, max_bytes: int = _MAX_BYTES):
        self.scenes, self.max_bytes = scenes, max_bytes
        self._kept: dict[int, Scene] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.scenes)

    def scene(self, index: int) -> Scene:
        """Scene `index`."""
        if index in self._kept:
            return self._kept[index]
        scene = self.scenes[index]
        if self._bytes < self.max_bytes:
            arrays = [array for array in vars(scene).values() if array is not None]
            for array in arrays:
                array.flags.writeable = False
            self._kept[index] = scene
            self._bytes += sum(array.nbytes for array in arrays)
        return scene

    def __getstate__(self) -> dict:
        return {**vars(self), "_kept": {}, "_bytes": 0}
