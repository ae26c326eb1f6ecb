"""Rules that the end-to-end tests send real series through."""

from __future__ import annotations

CT_BOX = """\
rules:
  - name: chest-box
    match: {Modality: CT}
    destinations: [archive]
    targets:
      - label: Region
        category: AnatomicalStructure
        type: {value: "39607008", scheme: SCT, meaning: Lung}
        window: {low: -1000, high: 400}
        stop_after_empty_frames: 1
        prompt: {kind: box, unit: fraction, frame: middle, left: 0.2, top: 0.3, right: 0.45, bottom: 0.7}
"""

NOTHING_MATCHES = CT_BOX.replace("Modality: CT", "Modality: MR")
