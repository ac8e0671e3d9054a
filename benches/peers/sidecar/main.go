// The least that a Go sidecar of the same API is: a lock in Redis that is renewed, gRPC on a unix socket and a port,
// and /metrics. It has none of understudy's safeguards. For comparison only.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "understudy.example/understudy/understudyv1"
)

const (
	lock  = "ha:miner:global_leader"
	ttl   = 30 * time.Second
	renew = 10 * time.Second
)

var extend = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0`)

var (
	leads    = promauto.NewGauge(prometheus.GaugeOpts{Name: "peer_leader", Help: "1 while it leads."})
	renewals = promauto.NewCounter(prometheus.CounterOpts{Name: "peer_renewals_total", Help: "Renewals."})
	calls    = promauto.NewCounterVec(prometheus.CounterOpts{Name: "peer_calls_total", Help: "Calls."}, []string{"method"})
)

type server struct {
	pb.UnimplementedElectionServiceServer
	id string
	// The end of the lease, on CLOCK_BOOTTIME in nanoseconds; 0: it does not lead.
	until atomic.Int64
}

func boottime() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		log.Fatal(err)
	}
	return now.Nano()
}

func (s *server) leadership() *pb.Leadership {
	until, now := s.until.Load(), boottime()
	if until <= now {
		return &pb.Leadership{Role: pb.Role_ROLE_STANDBY, Reason: pb.Reason_REASON_HELD_BY_OTHER, InstanceId: s.id}
	}
	return &pb.Leadership{
		Role: pb.Role_ROLE_LEADER, Reason: pb.Reason_REASON_ELECTED, InstanceId: s.id, LeaderId: s.id, FencingToken: 1,
		ValidUntilBoottimeNs: uint64(until), ValidFor: durationpb.New(time.Duration(until - now)),
		HeartbeatEvery: durationpb.New(time.Second),
	}
}

func (s *server) GetLeadership(context.Context, *pb.GetLeadershipRequest) (*pb.GetLeadershipResponse, error) {
	calls.WithLabelValues("GetLeadership").Inc()
	return &pb.GetLeadershipResponse{Leadership: s.leadership()}, nil
}

func (s *server) Observe(_ *pb.ObserveRequest, stream pb.ElectionService_ObserveServer) error {
	calls.WithLabelValues("Observe").Inc()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for before := pb.Role_ROLE_UNSPECIFIED; ; {
		if now := s.leadership(); now.Role != before {
			before = now.Role
			if err := stream.Send(&pb.ObserveResponse{Leadership: now}); err != nil {
				return err
			}
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *server) Campaign(stream pb.ElectionService_CampaignServer) error {
	calls.WithLabelValues("Campaign").Inc()
	for {
		if _, err := stream.Recv(); err != nil {
			return nil
		}
		if err := stream.Send(&pb.CampaignResponse{Leadership: s.leadership()}); err != nil {
			return err
		}
	}
}

// One attempt: extend what is ours, else take what nobody holds.
func (s *server) elect(ctx context.Context, client *redis.Client) {
	asked := boottime()
	var held bool
	if s.until.Load() > asked {
		done, err := extend.Run(ctx, client, []string{lock}, s.id, ttl.Milliseconds()).Int()
		held = err == nil && done == 1
	} else {
		done, err := client.SetNX(ctx, lock, s.id, ttl).Result()
		held = err == nil && done
	}
	if !held {
		leads.Set(0)
		s.until.Store(0)
		return
	}
	renewals.Inc()
	leads.Set(1)
	s.until.Store(asked + ttl.Nanoseconds())
}

func serve(network, address string, service *grpc.Server) {
	listener, err := net.Listen(network, address)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(service.Serve(listener)) }()
}

func main() {
	url := flag.String("redis-url", "redis://127.0.0.1:6379", "")
	socket := flag.String("socket", "", "the unix socket of gRPC")
	grpcAt := flag.String("grpc", "127.0.0.1:50051", "")
	httpAt := flag.String("http", "127.0.0.1:9090", "")
	flag.Parse()

	options, err := redis.ParseURL(*url)
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(options)
	election := &server{id: "peer-" + rand.Text()}
	service := grpc.NewServer()
	pb.RegisterElectionServiceServer(service, election)
	serve("tcp", *grpcAt, service)
	if *socket != "" {
		serve("unix", *socket, service)
	}
	http.Handle("/metrics", promhttp.Handler())
	go func() { log.Fatal(http.ListenAndServe(*httpAt, nil)) }()

	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	tick := time.NewTicker(renew)
	for {
		election.elect(stop, client)
		select {
		case <-stop.Done():
			return
		case <-tick.C:
		}
	}
}
