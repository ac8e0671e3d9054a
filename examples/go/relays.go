package main

import (
	"context"
	"fmt"
	"time"

	"understudy.example/understudy"
	pb "understudy.example/understudy/understudyv1"
)

// Shares of maxmemory. At the first no relay is taken any more, since each one fills Redis further; below the second
// they are taken again. Between the two nothing changes, so that relays do not flap.
const fullRatio, roomRatio = 0.95, 0.9

// Sheds load before Redis is out of memory: no relays while it refuses writes or is about to.
func (m *miner) watchRedis(stop context.Context, agent string) {
	conn, err := understudy.Dial(agent)
	if err != nil {
		return // the elector has said so
	}
	defer conn.Close()
	for stop.Err() == nil {
		stream, err := pb.NewRedisHealthServiceClient(conn).WatchRedisHealth(stop, &pb.WatchRedisHealthRequest{})
		for err == nil {
			var response *pb.WatchRedisHealthResponse
			if response, err = stream.Recv(); err == nil {
				m.judge(response.GetHealth())
			}
		}
		// Without the agent nothing is known of Redis: relays are taken or refused as before.
		time.Sleep(time.Second)
	}
}

func (m *miner) judge(health *pb.RedisHealth) {
	if health.GetAge() == nil {
		return // the agent has not asked Redis yet
	}
	limit := fullRatio
	if !m.relays.Load() {
		limit = roomRatio
	}
	takes := health.GetWritable() && health.GetUsageRatio() < limit
	if m.relays.Swap(takes) == takes {
		return
	}
	event := map[bool]string{true: "resume", false: "shed"}[takes]
	m.say(event, fmt.Sprintf("writable=%t oom=%t usage_ratio=%.3f", health.GetWritable(), health.GetOom(), health.GetUsageRatio()))
}

func (m *miner) takeRelays(stop context.Context, every time.Duration) {
	for stop.Err() == nil {
		time.Sleep(every)
		if m.relays.Load() {
			m.say("relay", "")
		}
	}
}
