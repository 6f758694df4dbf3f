"""The one kind of error that is a person's to mend."""


class UserError(ValueError):
    """Something in a file or a parameter is wrong; the message names it and says what to do."""
