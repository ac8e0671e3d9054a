"""Leader election with python-redis-lock as its users write it: expire, auto_renewal, a blocking acquire; a line in a log
for every act as leader, and a release at SIGTERM. For comparison only."""

import argparse
import signal
import sys
import threading
import time

import redis
import redis_lock

arguments = argparse.ArgumentParser()
arguments.add_argument("--address", default="127.0.0.1:6379")
arguments.add_argument("--log", required=True)
arguments.add_argument("--ttl", type=int, default=3)
options = arguments.parse_args()
stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())


def lead(client, log):
    lock = redis_lock.Lock(client, "bench:leader", expire=options.ttl, auto_renewal=True)
    # A blocking acquire hears no signal: in slices.
    while not lock.acquire(timeout=1):
        if stopped.is_set():
            return
    try:
        while not stopped.is_set():
            log.write(f"{time.clock_gettime_ns(time.CLOCK_BOOTTIME)} act token=0 accepted=none\n")
            time.sleep(0.001)
    finally:
        lock.release()


host, port = options.address.rsplit(":", 1)
with open(options.log, "a", buffering=1) as log:
    while not stopped.is_set():
        try:
            lead(redis.Redis(host, int(port)), log)
        except redis.RedisError as error:
            print(error, file=sys.stderr)
            stopped.wait(0.1)
