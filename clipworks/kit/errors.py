"""The one exception whose text is a message to people."""


class InputError(ValueError):
    """What somebody gave (params, files, images, replies) cannot be used.

    The text says what was wrong and where, what is allowed and how to mend it. It is a ValueError,
    so that pydantic reports it from validators; but only this one ends a stage as a message: any
    other ValueError is a fault of the code, and keeps its traceback.
    """
