"""The tables of the text factory: raw replies, kept captions, rejected ones."""

from typing import Any

import pyarrow as pa

from clipworks.chat.replay import Recording
from clipworks.writing.dialogue import Turn

REPLIES = pa.schema(
    [
        ("source", pa.string()),  # compose, multi, single, challenge, feasible, check, judge
        ("names", pa.list_(pa.string())),
        ("round", pa.int32()),
        ("template", pa.string()),
        ("template_hash", pa.string()),
        ("prompt", pa.string()),
        ("caption", pa.string()),  # the sentence that was checked or judged
        ("reply", pa.string()),
        ("finish", pa.string()),
        ("probability", pa.float64()),
        ("keep", pa.bool_()),  # what feasibility and checks said
    ]
)
CAPTIONS = pa.schema(
    [
        ("caption", pa.string()),
        ("source", pa.string()),
        ("names", pa.list_(pa.string())),  # what was asked for
        ("labels", pa.list_(pa.int32())),  # what it names, as indices of the class list
    ]
)
REJECTED = pa.schema(
    [
        ("caption", pa.string()),
        ("source", pa.string()),
        ("names", pa.list_(pa.string())),
        ("reason", pa.string()),
    ]
)


def reply_row(turn: Turn) -> dict[str, Any]:
    """A turn of the dialogue as a row of REPLIES; the prompt is the whole conversation."""
    request, reply = turn.request, turn.reply
    return {
        "source": turn.source,
        "names": list(request.names),
        "round": turn.round,
        "template": request.template,
        "template_hash": request.template_hash,
        "prompt": "\n\n".join(f"[{role}] {text}" for role, text in request.messages),
        "caption": request.caption,
        "reply": reply.text,
        "finish": reply.finish,
        "probability": reply.probability,
        "keep": turn.keep,
    }


def recording_row(recording: Recording) -> dict[str, Any]:
    """A recorded reply as a row of REPLIES."""
    return {
        "source": recording.source,
        "names": list(recording.names),
        "round": 0,
        "template": "recorded",
        "template_hash": "",
        "prompt": recording.place,
        "caption": "",
        "reply": recording.text,
        "finish": "stop",
        "probability": None,
        "keep": True,
    }
