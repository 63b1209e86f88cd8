/* System calls that get around connect(2), or try to, one by one: the client under test where Rust would need unsafe
 * code.
 *
 * In: the name of a trick and its arguments. Out: one line: what the other side said, or what failed and with which
 * error number. It must never try anything twice. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_xdp.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* linux/in.h, Linux 6.3 */
#endif

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

static void fail_with(const char *what, int error)
{
	printf("%s: error %d\n", what, error);
	exit(0);
}

static void must(long result, const char *what)
{
	if (result < 0)
		fail_with(what, errno);
}

/* An address of either family, with its length. */
static socklen_t address(const char *text, const char *port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (void *)out;
	struct sockaddr_in6 *v6 = (void *)out;
	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(atoi(port));
		return sizeof *v4;
	}
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
		fail_with("address", EINVAL);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(atoi(port));
	return sizeof *v6;
}

static int stream(int family)
{
	struct timeval patience = {.tv_sec = 3};
	int s = socket(family, SOCK_STREAM, 0);
	must(s, "socket");
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	return s;
}

static void hear(int s)
{
	char text[256];
	ssize_t count = recv(s, text, sizeof text - 1, 0);
	must(count, "recv");
	text[count] = 0;
	text[strcspn(text, "\r\n")] = 0;
	printf("heard: %s\n", text);
}

/* uring ADDRESS PORT FLAGS: connects by io_uring; FLAGS 16 is IOSQE_ASYNC. */
static void uring(char **arguments)
{
	struct io_uring_params p = {0};
	struct sockaddr_storage to;
	socklen_t length = address(arguments[0], arguments[1], &to);
	int s = stream(to.ss_family);
	int ring = syscall(SYS_io_uring_setup, 2, &p);
	must(ring, "io_uring_setup");
	char *sq = mmap(0, p.sq_off.array + p.sq_entries * sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
			IORING_OFF_SQ_RING);
	char *cq = mmap(0, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED,
			ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *entry = mmap(0, p.sq_entries * sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
					  IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || entry == MAP_FAILED)
		fail_with("mmap", errno);
	memset(entry, 0, sizeof *entry);
	entry->opcode = IORING_OP_CONNECT;
	entry->flags = atoi(arguments[2]);
	entry->fd = s;
	entry->addr = (unsigned long)&to;
	entry->off = length;
	((unsigned *)(sq + p.sq_off.array))[0] = 0;
	__atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
	must(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0), "io_uring_enter");
	int result = ((struct io_uring_cqe *)(cq + p.cq_off.cqes))[0].res;
	if (result < 0)
		fail_with("connect", -result);
	hear(s);
}

static void connect_and_hear(int s, struct sockaddr_storage *to, socklen_t length)
{
	must(connect(s, (void *)to, length), "connect");
	hear(s);
}

/* routing ADDRESS PORT HOP: connects with an IPv6 segment routing header (RFC 8754) through HOP. */
static void routing(char **arguments)
{
	struct {
		unsigned char next, length, type, left, last, flags, tag[2];
		struct in6_addr segments[2];
	} header = {.length = 4, .type = 4, .left = 1, .last = 1};
	struct sockaddr_storage to;
	socklen_t length = address(arguments[0], arguments[1], &to);
	int s = stream(AF_INET6);
	inet_pton(AF_INET6, arguments[2], &header.segments[1]);
	must(setsockopt(s, IPPROTO_IPV6, IPV6_RTHDR, &header, sizeof header), "IPV6_RTHDR");
	connect_and_hear(s, &to, length);
}

/* source_route ADDRESS PORT HOP: connects with a loose IPv4 source route (RFC 791) through HOP. */
static void source_route(char **arguments)
{
	unsigned char options[8] = {1 /* no operation */, 131, 7, 4};
	struct sockaddr_storage to;
	socklen_t length = address(arguments[0], arguments[1], &to);
	int s = stream(AF_INET);
	inet_pton(AF_INET, arguments[2], options + 4);
	must(setsockopt(s, IPPROTO_IP, IP_OPTIONS, options, sizeof options), "IP_OPTIONS");
	connect_and_hear(s, &to, length);
}

/* repair ADDRESS PORT: has the kernel take a connection for established of which the far end has not heard (TCP_REPAIR), and
 * sends on it. */
static void repair(char **arguments)
{
	int mode = 1 /* TCP_REPAIR_ON */;
	struct sockaddr_storage to;
	socklen_t length = address(arguments[0], arguments[1], &to);
	int s = stream(to.ss_family);
	must(setsockopt(s, IPPROTO_TCP, TCP_REPAIR, &mode, sizeof mode), "TCP_REPAIR");
	must(connect(s, (void *)&to, length), "connect");
	mode = -1 /* TCP_REPAIR_OFF_NO_WP */;
	must(setsockopt(s, IPPROTO_TCP, TCP_REPAIR, &mode, sizeof mode), "TCP_REPAIR");
	must(send(s, "hello", 5, MSG_NOSIGNAL), "send");
	printf("sent\n");
}

/* listen PORT: listens on the port without bind(2), by narrowing the range that the kernel chooses from. */
static void listen_without_bind(char **arguments)
{
	unsigned port = atoi(arguments[0]), range = port << 16 | port;
	struct sockaddr_in own;
	socklen_t length = sizeof own;
	int s = stream(AF_INET);
	must(setsockopt(s, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof range), "IP_LOCAL_PORT_RANGE");
	must(listen(s, 1), "listen");
	must(getsockname(s, (void *)&own, &length), "getsockname");
	printf("listens on %d\n", ntohs(own.sin_port));
}

/* Before Linux 5.11 programs are counted against what a user may lock. */
static void lock_all(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_MEMLOCK, &all);
}

static int load(enum bpf_prog_type type, enum bpf_attach_type at, struct bpf_insn *code, unsigned count)
{
	union bpf_attr attributes = {
		.prog_type = type,
		.insn_cnt = count,
		.insns = (unsigned long)code,
		.license = (unsigned long)"GPL",
		.expected_attach_type = at,
	};
	lock_all();
	int program = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
	must(program, "BPF_PROG_LOAD");
	return program;
}

static void attach(int cgroup, int program, enum bpf_attach_type at)
{
	union bpf_attr attributes = {
		.target_fd = cgroup,
		.attach_bpf_fd = program,
		.attach_type = at,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};
	must(syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof attributes), "BPF_PROG_ATTACH");
}

#define INSN(c, d, s, o, i) ((struct bpf_insn){.code = c, .dst_reg = d, .src_reg = s, .off = o, .imm = i})

/* bpf: tries to load programs of other kinds than the hooks': those that choose the socket of a connection (sk_lookup), that
 * rewrite or send on packets (tc, xdp, netfilter), that act on sockets and their options, or on the kernel. */
static void bpf(char **arguments)
{
	static const int types[] = {
		BPF_PROG_TYPE_KPROBE,  BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SCHED_ACT,   BPF_PROG_TYPE_XDP,
		BPF_PROG_TYPE_LWT_OUT, BPF_PROG_TYPE_SOCK_OPS,  BPF_PROG_TYPE_CGROUP_SOCK, BPF_PROG_TYPE_SK_MSG,
		BPF_PROG_TYPE_SK_SKB,  BPF_PROG_TYPE_TRACING,   BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_PROG_TYPE_STRUCT_OPS,
		BPF_PROG_TYPE_LSM,     BPF_PROG_TYPE_SK_LOOKUP, 32 /* netfilter, Linux 6.4 */,
	};
	struct bpf_insn code[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	(void)arguments;
	lock_all();
	for (unsigned at = 0; at < sizeof types / sizeof *types; at++) {
		union bpf_attr attributes = {
			.prog_type = types[at],
			.insn_cnt = 2,
			.insns = (unsigned long)code,
			.license = (unsigned long)"GPL",
			.expected_attach_type = types[at] == BPF_PROG_TYPE_SK_LOOKUP ? BPF_SK_LOOKUP : 0,
		};
		if (syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes) >= 0)
			printf("loaded %d\n", types[at]);
		else if (errno != EPERM)
			printf("type %d: error %d\n", types[at], errno);
	}
	printf("tried\n");
}

/* hooks CGROUP PORT ADDRESS TO: attaches a connect4 program that sends connects to PORT to ADDRESS:TO, and an egress
 * program that lets every packet pass. */
static void hooks(char **arguments)
{
	struct in_addr to;
	inet_pton(AF_INET, arguments[2], &to);
	struct bpf_insn rewrite[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct bpf_sock_addr, user_port), 0),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 4, htons(atoi(arguments[1]))),
		INSN(BPF_ALU | BPF_MOV | BPF_K, 2, 0, 0, to.s_addr),
		INSN(BPF_STX | BPF_MEM | BPF_W, 1, 2, offsetof(struct bpf_sock_addr, user_ip4), 0),
		INSN(BPF_ALU | BPF_MOV | BPF_K, 2, 0, 0, htons(atoi(arguments[3]))),
		INSN(BPF_STX | BPF_MEM | BPF_W, 1, 2, offsetof(struct bpf_sock_addr, user_port), 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	int cgroup = open(arguments[0], O_RDONLY | O_DIRECTORY);
	must(cgroup, "open");
	attach(cgroup, load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, rewrite, 8),
	       BPF_CGROUP_INET4_CONNECT);
	attach(cgroup, load(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, rewrite + 6, 2), BPF_CGROUP_INET_EGRESS);
	printf("attached\n");
}

static unsigned sum(const void *bytes, int length, unsigned start)
{
	const unsigned char *at = bytes;
	for (; length > 1; at += 2, length -= 2)
		start += at[0] << 8 | at[1];
	return start;
}

static unsigned short folded(unsigned total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return htons(~total);
}

/* A whole packet that opens a connection: IPv4 and TCP, no options. */
static void syn(unsigned char packet[40], const char *from, const char *to, const char *port)
{
	unsigned short there = htons(atoi(port)), check;
	memset(packet, 0, 40);
	memcpy(packet, "\x45\x00\x00\x28\x00\x01\x00\x00\x40\x06", 10);
	inet_pton(AF_INET, from, packet + 12);
	inet_pton(AF_INET, to, packet + 16);
	check = folded(sum(packet, 20, 0));
	memcpy(packet + 10, &check, 2);
	memcpy(packet + 20, "\x9c\x40", 2);
	memcpy(packet + 22, &there, 2);
	memcpy(packet + 32, "\x50\x02\xff\xff", 4);
	check = folded(sum(packet + 20, 20, sum(packet + 12, 8, 6 + 20)));
	memcpy(packet + 36, &check, 2);
}

/* tun DEVICE FROM TO PORT: puts a packet into the network namespace as if a device had received it. */
static void tun(char **arguments)
{
	unsigned char packet[40];
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "tun7"};
	int device = open(arguments[0], O_RDWR), s = socket(AF_INET, SOCK_DGRAM, 0);
	must(device, "open");
	must(ioctl(device, TUNSETIFF, &request), "TUNSETIFF");
	request.ifr_flags = IFF_UP;
	must(ioctl(s, SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
	syn(packet, arguments[1], arguments[2], arguments[3]);
	must(write(device, packet, sizeof packet), "write");
	printf("sent\n");
}

/* frame DEVICE HEADERS FROM TO PORT: puts a packet with these headers before it (in hexadecimal, the Ethernet header first)
 * into the bridge br0, as if one of its devices had received it. */
static void frame(char **arguments)
{
	unsigned char bytes[256];
	unsigned short check;
	unsigned length = 0, byte;
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI, .ifr_name = "tap7"};
	int device = open(arguments[0], O_RDWR);
	must(device, "open");
	must(ioctl(device, TUNSETIFF, &request), "TUNSETIFF");
	if (system("ip link set tap7 master br0 up; for _ in $(seq 500); do bridge link show dev tap7 |"
		   " grep -q 'state forwarding' && exit 0; sleep 0.01; done; exit 1"))
		fail_with("bridge", ETIMEDOUT);
	for (const char *at = arguments[1]; length < 200 && sscanf(at, "%2x", &byte) == 1; at += 2)
		bytes[length++] = byte;
	syn(bytes + length, arguments[2], arguments[3], arguments[4]);
	if (!memcmp(bytes + 12, "\x08\x00\x45", 3)) {
		check = folded(sum(bytes + 14, 20, 0));
		memcpy(bytes + 24, &check, 2);
	}
	must(write(device, bytes, length + 40), "write");
	printf("sent\n");
}

/* vxlan ADDRESS PORT MAC FROM TO PORT: sends a packet in a datagram (RFC 7348, network 5), for a host that unpacks it. */
static void vxlan(char **arguments)
{
	unsigned char datagram[62] = {8, 0, 0, 0, 0, 0, 5};
	struct sockaddr_storage to;
	socklen_t length = address(arguments[0], arguments[1], &to);
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	must(s, "socket");
	ether_aton_r(arguments[2], (void *)(datagram + 8));
	memcpy(datagram + 14, "\x02\0\0\0\0\x07\x08\0", 8);
	syn(datagram + 22, arguments[3], arguments[4], arguments[5]);
	must(sendto(s, datagram, sizeof datagram, 0, (void *)&to, length), "sendto");
	printf("sent\n");
}

/* packet DEVICE MAC FROM TO PORT: sends a packet past all of IP, to a neighbour's address. */
static void packet_socket(char **arguments)
{
	unsigned char packet[40];
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(0x0800), .sll_halen = 6};
	int s = socket(AF_PACKET, SOCK_DGRAM, 0);
	must(s, "socket");
	to.sll_ifindex = if_nametoindex(arguments[0]);
	ether_aton_r(arguments[1], (void *)to.sll_addr);
	syn(packet, arguments[2], arguments[3], arguments[4]);
	must(sendto(s, packet, sizeof packet, 0, (void *)&to, sizeof to), "sendto");
	printf("sent\n");
}

/* xdp DEVICE MAC FROM TO PORT: sends a packet past the whole stack, from memory that the device's queue reads. */
static void xdp(char **arguments)
{
	struct xdp_umem_reg memory = {.len = 4 * 4096, .chunk_size = 4096};
	struct sockaddr_xdp own = {.sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY};
	struct xdp_mmap_offsets at;
	socklen_t length = sizeof at;
	int entries = 4, s = socket(AF_XDP, SOCK_RAW, 0);
	must(s, "socket");
	char *frames = mmap(0, memory.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memory.addr = (unsigned long)frames;
	must(setsockopt(s, SOL_XDP, XDP_UMEM_REG, &memory, sizeof memory), "XDP_UMEM_REG");
	must(setsockopt(s, SOL_XDP, XDP_UMEM_FILL_RING, &entries, sizeof entries), "XDP_UMEM_FILL_RING");
	must(setsockopt(s, SOL_XDP, XDP_UMEM_COMPLETION_RING, &entries, sizeof entries), "XDP_UMEM_COMPLETION_RING");
	must(setsockopt(s, SOL_XDP, XDP_TX_RING, &entries, sizeof entries), "XDP_TX_RING");
	must(getsockopt(s, SOL_XDP, XDP_MMAP_OFFSETS, &at, &length), "XDP_MMAP_OFFSETS");
	char *ring = mmap(0, at.tx.desc + entries * sizeof(struct xdp_desc), PROT_READ | PROT_WRITE, MAP_SHARED, s,
			  XDP_PGOFF_TX_RING);
	if (frames == MAP_FAILED || ring == MAP_FAILED)
		fail_with("mmap", errno);
	own.sxdp_ifindex = if_nametoindex(arguments[0]);
	must(bind(s, (void *)&own, sizeof own), "bind");
	ether_aton_r(arguments[1], (void *)frames);
	memcpy(frames + 6, "\x02\0\0\0\0\x07\x08\0", 8);
	syn((unsigned char *)frames + 14, arguments[2], arguments[3], arguments[4]);
	((struct xdp_desc *)(ring + at.tx.desc))[0] = (struct xdp_desc){.addr = 0, .len = 54};
	__atomic_store_n((unsigned *)(ring + at.tx.producer), 1, __ATOMIC_RELEASE);
	must(sendto(s, 0, 0, MSG_DONTWAIT, 0, 0), "sendto");
	printf("sent\n");
}

/* type: types a byte into its terminal, by the native call and by the one of 32-bit programs. */
static void type(char **arguments)
{
	char *byte = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	(void)arguments;
	printf("native: error %d\n", ioctl(0, TIOCSTI, byte) < 0 ? errno : 0);
#ifdef __x86_64__
	int status, child = fork();
	must(child, "fork");
	if (!child) {
		int result;
		__asm__ volatile("int $0x80" : "=a"(result) : "a"(54), "b"(0), "c"(TIOCSTI), "d"(byte) : "memory");
		exit(-result);
	}
	must(waitpid(child, &status, 0), "waitpid");
	/* Without 32-bit programs in the kernel the instruction is an invalid one. */
	printf("32-bit: error %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : ENOSYS);
#endif
}

/* Stops one thread of another process for ten seconds. */
static void freeze(char **arguments)
{
	pid_t thread = atoi(arguments[0]);
	must(ptrace(PTRACE_SEIZE, thread, 0, 0), "PTRACE_SEIZE");
	must(ptrace(PTRACE_INTERRUPT, thread, 0, 0), "PTRACE_INTERRUPT");
	must(waitpid(thread, 0, __WALL), "waitpid");
	printf("frozen\n");
	fflush(stdout);
	sleep(10);
}

int main(int count, char **arguments)
{
	static const struct {
		const char *name;
		int arguments;
		void (*play)(char **);
	} tricks[] = {
		{"uring", 3, uring},
		{"routing", 3, routing},
		{"source_route", 3, source_route},
		{"repair", 2, repair},
		{"listen", 1, listen_without_bind},
		{"bpf", 0, bpf},
		{"hooks", 4, hooks},
		{"tun", 4, tun},
		{"frame", 5, frame},
		{"vxlan", 6, vxlan},
		{"packet", 5, packet_socket},
		{"xdp", 5, xdp},
		{"type", 0, type},
		{"freeze", 1, freeze},
	};
	for (unsigned at = 0; at < sizeof tricks / sizeof *tricks; at++)
		if (count == tricks[at].arguments + 2 && !strcmp(arguments[1], tricks[at].name)) {
			tricks[at].play(arguments + 2);
			return 0;
		}
	fprintf(stderr, "no such trick\n");
	return 2;
}
