import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from understudy.v1 import redis_health_pb2 as _redis_health_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_LEADER: _ClassVar[Role]
    ROLE_STANDBY: _ClassVar[Role]
    ROLE_IDLE: _ClassVar[Role]

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_ELECTED: _ClassVar[Reason]
    REASON_HELD_BY_OTHER: _ClassVar[Reason]
    REASON_WAITING_OUT_LEASE: _ClassVar[Reason]
    REASON_STORE_SETTLING: _ClassVar[Reason]
    REASON_NO_MINER: _ClassVar[Reason]
    REASON_MINER_SILENT: _ClassVar[Reason]
    REASON_LEASE_EXPIRED: _ClassVar[Reason]
    REASON_LOCK_LOST: _ClassVar[Reason]
    REASON_RESIGNED: _ClassVar[Reason]
    REASON_DRAINING: _ClassVar[Reason]
    REASON_HOLD_OFF: _ClassVar[Reason]
    REASON_EVICTION_POLICY: _ClassVar[Reason]
    REASON_STARTING: _ClassVar[Reason]
    REASON_REDIS_UNREACHABLE: _ClassVar[Reason]
    REASON_REDIS_TIMEOUT: _ClassVar[Reason]
    REASON_REDIS_OOM: _ClassVar[Reason]
    REASON_REDIS_READ_ONLY: _ClassVar[Reason]
    REASON_REDIS_LOADING: _ClassVar[Reason]
    REASON_REDIS_BUSY: _ClassVar[Reason]
    REASON_REDIS_MISCONF: _ClassVar[Reason]
    REASON_REDIS_NO_REPLICAS: _ClassVar[Reason]
    REASON_REDIS_AUTH: _ClassVar[Reason]
    REASON_REDIS_NO_PERMISSION: _ClassVar[Reason]
    REASON_REDIS_WRONG_TYPE: _ClassVar[Reason]
    REASON_REDIS_CLUSTER_DOWN: _ClassVar[Reason]
    REASON_REDIS_ERROR: _ClassVar[Reason]
    REASON_REDIS_TLS: _ClassVar[Reason]
ROLE_UNSPECIFIED: Role
ROLE_LEADER: Role
ROLE_STANDBY: Role
ROLE_IDLE: Role
REASON_UNSPECIFIED: Reason
REASON_ELECTED: Reason
REASON_HELD_BY_OTHER: Reason
REASON_WAITING_OUT_LEASE: Reason
REASON_STORE_SETTLING: Reason
REASON_NO_MINER: Reason
REASON_MINER_SILENT: Reason
REASON_LEASE_EXPIRED: Reason
REASON_LOCK_LOST: Reason
REASON_RESIGNED: Reason
REASON_DRAINING: Reason
REASON_HOLD_OFF: Reason
REASON_EVICTION_POLICY: Reason
REASON_STARTING: Reason
REASON_REDIS_UNREACHABLE: Reason
REASON_REDIS_TIMEOUT: Reason
REASON_REDIS_OOM: Reason
REASON_REDIS_READ_ONLY: Reason
REASON_REDIS_LOADING: Reason
REASON_REDIS_BUSY: Reason
REASON_REDIS_MISCONF: Reason
REASON_REDIS_NO_REPLICAS: Reason
REASON_REDIS_AUTH: Reason
REASON_REDIS_NO_PERMISSION: Reason
REASON_REDIS_WRONG_TYPE: Reason
REASON_REDIS_CLUSTER_DOWN: Reason
REASON_REDIS_ERROR: Reason
REASON_REDIS_TLS: Reason

class CampaignRequest(_message.Message):
    __slots__ = ("miner", "acknowledged_version")
    MINER_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_VERSION_FIELD_NUMBER: _ClassVar[int]
    miner: str
    acknowledged_version: int
    def __init__(self, miner: _Optional[str] = ..., acknowledged_version: _Optional[int] = ...) -> None: ...

class CampaignResponse(_message.Message):
    __slots__ = ("leadership",)
    LEADERSHIP_FIELD_NUMBER: _ClassVar[int]
    leadership: Leadership
    def __init__(self, leadership: _Optional[_Union[Leadership, _Mapping]] = ...) -> None: ...

class ObserveRequest(_message.Message):
    __slots__ = ("everything",)
    EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    everything: bool
    def __init__(self, everything: _Optional[bool] = ...) -> None: ...

class ObserveResponse(_message.Message):
    __slots__ = ("leadership", "takeover", "lease_remaining", "redis")
    LEADERSHIP_FIELD_NUMBER: _ClassVar[int]
    TAKEOVER_FIELD_NUMBER: _ClassVar[int]
    LEASE_REMAINING_FIELD_NUMBER: _ClassVar[int]
    REDIS_FIELD_NUMBER: _ClassVar[int]
    leadership: Leadership
    takeover: Takeover
    lease_remaining: _duration_pb2.Duration
    redis: _redis_health_pb2.RedisHealth
    def __init__(self, leadership: _Optional[_Union[Leadership, _Mapping]] = ..., takeover: _Optional[_Union[Takeover, _Mapping]] = ..., lease_remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., redis: _Optional[_Union[_redis_health_pb2.RedisHealth, _Mapping]] = ...) -> None: ...

class GetLeadershipRequest(_message.Message):
    __slots__ = ("extend",)
    EXTEND_FIELD_NUMBER: _ClassVar[int]
    extend: bool
    def __init__(self, extend: _Optional[bool] = ...) -> None: ...

class GetLeadershipResponse(_message.Message):
    __slots__ = ("leadership", "takeover", "lease_remaining")
    LEADERSHIP_FIELD_NUMBER: _ClassVar[int]
    TAKEOVER_FIELD_NUMBER: _ClassVar[int]
    LEASE_REMAINING_FIELD_NUMBER: _ClassVar[int]
    leadership: Leadership
    takeover: Takeover
    lease_remaining: _duration_pb2.Duration
    def __init__(self, leadership: _Optional[_Union[Leadership, _Mapping]] = ..., takeover: _Optional[_Union[Takeover, _Mapping]] = ..., lease_remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Takeover(_message.Message):
    __slots__ = ("ready", "reason", "error", "age")
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    ready: bool
    reason: Reason
    error: str
    age: _duration_pb2.Duration
    def __init__(self, ready: _Optional[bool] = ..., reason: _Optional[_Union[Reason, str]] = ..., error: _Optional[str] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ResignRequest(_message.Message):
    __slots__ = ("reason", "hold_off", "successor")
    REASON_FIELD_NUMBER: _ClassVar[int]
    HOLD_OFF_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOR_FIELD_NUMBER: _ClassVar[int]
    reason: str
    hold_off: _duration_pb2.Duration
    successor: str
    def __init__(self, reason: _Optional[str] = ..., hold_off: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., successor: _Optional[str] = ...) -> None: ...

class ResignResponse(_message.Message):
    __slots__ = ("fencing_token",)
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    fencing_token: int
    def __init__(self, fencing_token: _Optional[int] = ...) -> None: ...

class Leadership(_message.Message):
    __slots__ = ("role", "reason", "instance_id", "leader_id", "fencing_token", "valid_until_boottime_ns", "valid_until_monotonic_ns", "valid_for", "version", "heartbeat_every")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_BOOTTIME_NS_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_MONOTONIC_NS_FIELD_NUMBER: _ClassVar[int]
    VALID_FOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_EVERY_FIELD_NUMBER: _ClassVar[int]
    role: Role
    reason: Reason
    instance_id: str
    leader_id: str
    fencing_token: int
    valid_until_boottime_ns: int
    valid_until_monotonic_ns: int
    valid_for: _duration_pb2.Duration
    version: int
    heartbeat_every: _duration_pb2.Duration
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., reason: _Optional[_Union[Reason, str]] = ..., instance_id: _Optional[str] = ..., leader_id: _Optional[str] = ..., fencing_token: _Optional[int] = ..., valid_until_boottime_ns: _Optional[int] = ..., valid_until_monotonic_ns: _Optional[int] = ..., valid_for: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., version: _Optional[int] = ..., heartbeat_every: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
