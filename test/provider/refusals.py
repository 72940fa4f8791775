"""The error values by which a request is refused.

A Refusal says what is wrong in OpenAI's words (message, type, param, code and the HTTP status); the dialect that
answers decides how such an error looks on its wire. Every other module raises Refusals and none catches them but
endpoints.py.
"""


class Refusal(Exception):
    """One refused request. `param` is the path of the offending member, `detail` goes to dialects that send one."""

    def __init__(self, message, *, code=None, param=None, status=400, type="invalid_request_error", detail=None):
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.status = status
        self.type = type
        self.detail = detail

    def as_dict(self):
        return {"status": self.status, "message": self.message, "type": self.type, "param": self.param,
                "code": self.code}


def unsupported_parameter(param, remedy=""):
    message = f"Unsupported parameter: '{param}' is not supported with this model."
    return Refusal(f"{message} {remedy}".rstrip(), code="unsupported_parameter", param=param)


def unsupported_value(param, value, remedy=""):
    message = f"Unsupported value: '{param}' does not support {value} with this model."
    return Refusal(f"{message} {remedy}".rstrip(), code="unsupported_value", param=param)


def invalid_value(param, message):
    return Refusal(message, code="invalid_value", param=param)
