"""The window of ``render_mode="human"``: the only place where pygame is imported, and only when a frame is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray


class Window:
    """Shows RGB frames; opens at the first frame.

    :param title: caption of the window
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._surface: Any = None
        self._clock: Any = None

    def show(self, frame: NDArray[np.uint8], fps: float) -> None:
        """Show one frame, shape (height, width, 3), and wait so that no more than ``fps`` frames pass in a second.

        :raises DependencyNotInstalled: pygame is missing
        """
        pygame = _pygame()
        size = (frame.shape[1], frame.shape[0])
        if self._surface is None or self._surface.get_size() != size:
            pygame.display.init()
            pygame.display.set_caption(self.title)
            self._surface = pygame.display.set_mode(size)
            self._clock = pygame.time.Clock()
        # pygame's arrays are (width, height, 3)
        self._surface.blit(pygame.surfarray.make_surface(frame.swapaxes(0, 1)), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(fps)

    def close(self) -> None:
        """Close the window; a second call does nothing."""
        if self._surface is not None:
            _pygame().display.quit()
            self._surface = self._clock = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open window out of copies and pickles: it belongs to one process."""
        return {"title": self.title, "_surface": None, "_clock": None}


def _pygame() -> Any:
    try:
        import pygame
    except ImportError as error:
        raise DependencyNotInstalled(
            'render_mode: "human" needs pygame (got no pygame, want `pip install pygame-ce`, or "rgb_array")'
        ) from error
    return pygame
