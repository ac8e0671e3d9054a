import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_CLASS_UNSPECIFIED: _ClassVar[ErrorClass]
    ERROR_CLASS_OOM: _ClassVar[ErrorClass]
    ERROR_CLASS_MISCONF: _ClassVar[ErrorClass]
    ERROR_CLASS_READ_ONLY: _ClassVar[ErrorClass]
    ERROR_CLASS_NO_REPLICAS: _ClassVar[ErrorClass]
    ERROR_CLASS_LOADING: _ClassVar[ErrorClass]
    ERROR_CLASS_TOPOLOGY: _ClassVar[ErrorClass]
    ERROR_CLASS_BUSY: _ClassVar[ErrorClass]
    ERROR_CLASS_UNKILLABLE: _ClassVar[ErrorClass]
    ERROR_CLASS_AUTH: _ClassVar[ErrorClass]
    ERROR_CLASS_NO_PERMISSION: _ClassVar[ErrorClass]
    ERROR_CLASS_NO_SCRIPT: _ClassVar[ErrorClass]
    ERROR_CLASS_WRONG_TYPE: _ClassVar[ErrorClass]
    ERROR_CLASS_CLIENT_BUG: _ClassVar[ErrorClass]
    ERROR_CLASS_TIMEOUT: _ClassVar[ErrorClass]
    ERROR_CLASS_UNREACHABLE: _ClassVar[ErrorClass]
    ERROR_CLASS_OTHER: _ClassVar[ErrorClass]
    ERROR_CLASS_TLS: _ClassVar[ErrorClass]
ERROR_CLASS_UNSPECIFIED: ErrorClass
ERROR_CLASS_OOM: ErrorClass
ERROR_CLASS_MISCONF: ErrorClass
ERROR_CLASS_READ_ONLY: ErrorClass
ERROR_CLASS_NO_REPLICAS: ErrorClass
ERROR_CLASS_LOADING: ErrorClass
ERROR_CLASS_TOPOLOGY: ErrorClass
ERROR_CLASS_BUSY: ErrorClass
ERROR_CLASS_UNKILLABLE: ErrorClass
ERROR_CLASS_AUTH: ErrorClass
ERROR_CLASS_NO_PERMISSION: ErrorClass
ERROR_CLASS_NO_SCRIPT: ErrorClass
ERROR_CLASS_WRONG_TYPE: ErrorClass
ERROR_CLASS_CLIENT_BUG: ErrorClass
ERROR_CLASS_TIMEOUT: ErrorClass
ERROR_CLASS_UNREACHABLE: ErrorClass
ERROR_CLASS_OTHER: ErrorClass
ERROR_CLASS_TLS: ErrorClass

class GetRedisHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetRedisHealthResponse(_message.Message):
    __slots__ = ("health",)
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    health: RedisHealth
    def __init__(self, health: _Optional[_Union[RedisHealth, _Mapping]] = ...) -> None: ...

class WatchRedisHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchRedisHealthResponse(_message.Message):
    __slots__ = ("health",)
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    health: RedisHealth
    def __init__(self, health: _Optional[_Union[RedisHealth, _Mapping]] = ...) -> None: ...

class RedisHealth(_message.Message):
    __slots__ = ("reachable", "writable", "oom", "used_memory_bytes", "max_memory_bytes", "usage_ratio", "maxmemory_policy", "engine", "version", "age")
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    OOM_FIELD_NUMBER: _ClassVar[int]
    USED_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    USAGE_RATIO_FIELD_NUMBER: _ClassVar[int]
    MAXMEMORY_POLICY_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    reachable: bool
    writable: bool
    oom: bool
    used_memory_bytes: int
    max_memory_bytes: int
    usage_ratio: float
    maxmemory_policy: str
    engine: str
    version: str
    age: _duration_pb2.Duration
    def __init__(self, reachable: _Optional[bool] = ..., writable: _Optional[bool] = ..., oom: _Optional[bool] = ..., used_memory_bytes: _Optional[int] = ..., max_memory_bytes: _Optional[int] = ..., usage_ratio: _Optional[float] = ..., maxmemory_policy: _Optional[str] = ..., engine: _Optional[str] = ..., version: _Optional[str] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ClassifyErrorRequest(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: str
    def __init__(self, message: _Optional[str] = ...) -> None: ...

class ClassifyErrorResponse(_message.Message):
    __slots__ = ("error_class", "retryable", "hint")
    ERROR_CLASS_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    error_class: ErrorClass
    retryable: bool
    hint: str
    def __init__(self, error_class: _Optional[_Union[ErrorClass, str]] = ..., retryable: _Optional[bool] = ..., hint: _Optional[str] = ...) -> None: ...
