"""Less of what a vocoder makes too much of: faint noise, and sound between harmonics and formants.

Speech coders have had such filters since Chen and Gersho 1995 ("Adaptive postfiltering for quality
enhancement of coded speech"). This one works on magnitudes, where the vocoder works anyway: what is
faint is made fainter (a downward expander), and so is what lies below its surroundings. By PESQ and
STOI that is nothing, and a listener hears less noise (docs/training.md, round 12).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from avcc.render.voice import inverse_stft, stft

FAINT, SOFTLY = 0.35, 0.5  # magnitude, 32 dB below a voice's loudest; how steeply it goes below
AROUND, VALLEYS = 19, 0.2  # bins, 475 Hz; how steeply what lies below their RMS goes
LEAST = 0.1  # nothing is made fainter than by 20 dB


def postfiltered(wave: Tensor, window: Tensor) -> Tensor:
    """A voice (B, 160 T), decoded at ``LEVEL``, and the vocoder's window -> (B, 160 T)."""
    spectrum = stft(wave, window)
    size = spectrum.abs()
    across = size.square().transpose(1, 2)
    mean = F.avg_pool1d(across, AROUND, 1, AROUND // 2, count_include_pad=False)
    around = mean.transpose(1, 2).sqrt()
    gain = (size / FAINT).clamp(max=1) ** SOFTLY
    gain *= (size / around.clamp(min=1e-9)).clamp(max=1) ** VALLEYS
    return inverse_stft(spectrum * gain.clamp(min=LEAST), window)
