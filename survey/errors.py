"""One error class per cause; every message says what was found, where, and what to do."""


class SurveyError(Exception):
    """The base of every error that a user can mend; the command line exits with 2."""


class InputError(SurveyError, ValueError):
    """A file is not what its name says, is cut short, or holds nothing that can be used."""


class AreaError(SurveyError, ValueError):
    """An area is missing, empty, wrong way round or outside the data."""


class LayerError(SurveyError, ValueError):
    """A user's own file lacks a column, or a cell holds what it may not."""


class DatumError(SurveyError, ValueError):
    """Coordinates contradict the datum that they are said to be in, or it cannot be told."""


class TableError(SurveyError, ValueError):
    """A table breaks the data contract; the message lists every fault."""


class DesignError(SurveyError, ValueError):
    """A sampling design contradicts itself or names what does not exist."""


class RuleError(SurveyError, ValueError):
    """A distance rule is unknown or cannot be read."""


class NothingToCheckError(RuleError):
    """The area holds nothing that a rule is asked of: no such street, point or compound."""


class ConfigError(SurveyError, ValueError):
    """A city's config has an unknown key or a wrong value."""


class WorkspaceError(SurveyError, ValueError):
    """A workspace is missing a table, or was made by another version of the contract."""


class OutputError(SurveyError, OSError):
    """A file could not be written; what stood there before is unharmed."""


class NetworkError(SurveyError, ConnectionError):
    """A server did not answer, or answered with a fault; the command line exits with 3."""
