# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""The XDP engine alone: programs replaced under traffic, the agent dead, full tables, ports of all kinds
and of others, pins that do not fit, interfaces that come and go."""
import contextlib
import ctypes
import itertools
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time

import pytest

import topology
from conftest import services
from test_change import download

HERE = os.path.dirname(os.path.abspath(__file__))
SLUICE_XDP = os.path.join(topology.BUILD, "sluice-xdp")
CLASSIFIER = os.path.join(topology.BUILD, "bpf/classify.bpf.o")
WEB = f"http://{topology.SERVICE4}/name"
WEB6 = f"http://[{topology.SERVICE6}]/name"


def pin(net, name):
    return os.path.join(net.run_dir, "bpf", name)


def restart(net):
    """The agent is killed and started again; returns when the new program is in place."""
    starts = net.log("dataplane").count("ready: engine xdp")
    net.stop("dataplane", signal.SIGKILL)
    net.start_dataplane()
    topology.wait_until("the next agent", 30, lambda: net.log("dataplane").count("ready: engine xdp") > starts)


def attempt(net, *options, config=None):
    """sluice-xdp that is to end by itself."""
    return net.run_in("lb", SLUICE_XDP, "-c", config or net.config, *options, check=False, timeout=30)


def refusal(net, *options, config=None):
    """What sluice-xdp says when it refuses to start."""
    done = attempt(net, *options, config=config)
    assert done.returncode == 1, done
    return done.stderr


@contextlib.contextmanager
def dead_dataplane(net):
    """Without the agent, for as long as the context lasts; then it runs and is in step."""
    net.stop("dataplane")
    try:
        yield
    finally:
        net.start_dataplane()
        net.wait_in_step()


def changed_config(net, *replacements):
    """Another configuration file beside the topology's own."""
    with open(net.config) as file:
        text = file.read()
    for former, wanted in replacements:
        assert former in text
        text = text.replace(former, wanted)
    path = os.path.join(net.dir, "changed.yaml")
    with open(path, "w") as file:
        file.write(text)
    return path


def bpftool(*words):
    return json.loads(topology.run("bpftool", "-j", *words).stdout or "null")


def attached(net, device, name="lb"):
    """The XDP program of an interface of the namespace as `ip` tells it: mode, id, name; None: none."""
    link = json.loads(net.ip(name, "-j", "-d", "link", "show", "dev", device).stdout)[0]
    if "xdp" not in link:
        return None
    program = link["xdp"]["prog"]["id"]
    return link["xdp"]["mode"], program, bpftool("prog", "show", "id", str(program))["name"]


def get(net, url=WEB, seconds=2):
    return net.run_in("client", "curl", "-sfg", "--max-time", str(seconds), url, check=False).stdout


def wait_for_traffic(net, seconds):
    for url in (WEB, WEB6):
        topology.wait_until(f"{url} to answer", seconds,
                            lambda url=url: get(net, url, 0.5).startswith("backend"))


# -- replacement

class Stream:
    """Numbered datagrams through the service of the echo backends until stop()."""

    def __init__(self, net, rate=1000, flows=30):
        self.process = subprocess.Popen(
            net.in_ns("client", sys.executable, os.path.join(HERE, "udp_stream.py"), topology.SERVICE4, "53",
                      str(rate), str(flows)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self):
        out, _ = self.process.communicate("stop\n", timeout=60)
        return json.loads(out)


class Links:
    """The pinned attachments, to put another program in place without a process of ours."""

    def __init__(self, net):
        self.libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        self.paths = [pin(net, f"link_{device}") for device in net.ports]
        self.links = [self.check(self.libbpf.bpf_obj_get(path.encode())) for path in self.paths]

    @staticmethod
    def check(result):
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    def program(self):
        """Descriptors of the program that is attached now and of the map of those that it ends in: they
        stay while these are open."""
        number = bpftool("link", "show", "pinned", self.paths[0])["prog_id"]
        ends_in = [i for i in bpftool("prog", "show", "id", str(number))["map_ids"]
                   if bpftool("map", "show", "id", str(i)).get("name") == "programs"]
        return (self.check(self.libbpf.bpf_prog_get_fd_by_id(ctypes.c_uint32(number))),
                self.check(self.libbpf.bpf_map_get_fd_by_id(ctypes.c_uint32(ends_in[0]))))

    def replace(self, program):
        for link in self.links:
            self.check(self.libbpf.bpf_link_update(link, program[0], None))

    def close(self):
        for link in self.links:
            os.close(link)


def test_200_replacements_lose_no_datagram(net):
    """Under 1,000 datagrams a second in 30 flows. A start of the agent takes over a second, most of it
    the verifier's; so 8 of the 200 are the agent killed and started again, at whatever moment that
    meets, and 192 are replacements alone: the program that the killed agent had loaded and the one of
    its successor, both on the same tables, take turns on the pinned attachments, as each start does it."""
    stream = Stream(net)
    links = Links(net)
    rng = random.Random(11)
    replaced = 0
    try:
        for _ in range(8):
            former = links.program()
            time.sleep(rng.random() / 5)
            restart(net)
            replaced += 1
            programs = [former, links.program()]
            for i in range(24):
                links.replace(programs[i % 2])
                replaced += 1
                time.sleep(rng.random() / 25)
            links.replace(programs[1])
            for descriptor in itertools.chain(*programs):
                os.close(descriptor)
    finally:
        links.close()
        result = stream.stop()
    print(replaced, result["sent"])
    assert replaced == 200 and result["sent"] > 5000, result
    assert result["lost"] == [] and result["strayed"] == 0 and result["twice"] == 0, result
    assert result["backends"] == 3
    net.wait_in_step()


def test_agent_killed_while_it_starts(net):
    """Whatever a start has written when it is killed, the program runs on and the next start is whole."""
    stream = Stream(net)
    rng = random.Random(12)
    net.stop("dataplane", signal.SIGKILL)
    for _ in range(10):
        net.start_dataplane()
        time.sleep(rng.random() * 1.5)
        net.stop("dataplane", signal.SIGKILL)
    net.start_dataplane()
    net.wait_in_step()
    result = stream.stop()
    assert result["lost"] == [] and result["strayed"] == 0 and result["twice"] == 0, result


def test_download_and_new_connections_go_on_without_the_agent(net, files):
    running = download(net, "25M", subprocess.PIPE)
    topology.wait_until("the download to run", 10,
                        lambda: any(flow["state"] == "established"
                                    for flow in net.json("flow", "list", "service", "web", "limit", "10000")["flows"]))
    net.stop("dataplane", signal.SIGKILL)
    try:
        # Longer than the agent's word on the kernel's routes is good for, which is 3 s.
        end = time.monotonic() + 5
        while time.monotonic() < end:
            done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"),
                              topology.SERVICE4, "80", "50")
            assert json.loads(done.stdout)["failed"] == 0, done.stdout
        done = net.run_in("client", sys.executable, os.path.join(HERE, "udp_client.py"),
                          topology.SERVICE6, "53", "100")
        assert done.stdout.split() == ["100", "100"]
        out, _ = running.communicate(timeout=150)
        assert running.returncode == 0 and out.split()[0] == files[1]["big"]
    finally:
        net.start_dataplane()
        net.wait_in_step()


TOLD = """import socket, sys
held = socket.create_connection((sys.argv[1], 80), 10)
print("connected", flush=True)
for line in sys.stdin:
    try:
        held.sendall(b"GET")
        held.recv(1)
        print("alive", flush=True)
    except ConnectionResetError:
        print("reset", flush=True)
"""


def test_clients_are_told_of_refusals_without_the_agent(net):
    """The program that makes the answers is another, which the kernel would forget with its last pin."""
    backends = [row["address"] for row in net.json("backend", "list", "web")["backends"]]
    with subprocess.Popen(net.in_ns("client", sys.executable, "-c", TOLD, topology.SERVICE4),
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline() == "connected\n"
        for _ in range(2):
            restart(net)
        net.wait_in_step()
        assert len([name for name in os.listdir(pin(net, "")) if name.startswith("programs_")]) == 1
        for backend in backends:
            net.sluice("backend", "set", "web", backend, "state", "maint")
        net.stop("dataplane", signal.SIGKILL)
        try:
            out, _ = client.communicate("go\n", timeout=20)
            assert out == "reset\n"
        finally:
            net.start_dataplane()
            for backend in backends:
                net.sluice("backend", "set", "web", backend, "state", "ready")
            net.wait_in_step()


def test_generations_of_routes_that_a_dead_agent_left_are_used_up(net):
    """Without the agent, every second is a generation of its own to the program: next hops that it kept
    under one of those may be out of date, and the next agent must not come by it again."""
    def generation():
        return struct.unpack("<I", read(pin(net, "_data_control"))[16:20])[0]

    before = generation()
    net.stop("dataplane", signal.SIGKILL)
    time.sleep(4)
    starts = net.log("dataplane").count("ready: engine xdp")
    net.start_dataplane()
    topology.wait_until("the next agent", 30, lambda: net.log("dataplane").count("ready: engine xdp") > starts)
    assert generation() - before > 2
    net.wait_in_step()


# -- ports

@contextlib.contextmanager
def foreign_program(net, kind, folder):
    """Another's program on eth1; yields its id and name."""
    if kind == "netlink":
        net.ip("lb", "link", "set", "dev", "eth1", "xdp", "obj", CLASSIFIER, "sec", "xdp")
        yield attached(net, "eth1")
        net.ip("lb", "link", "set", "dev", "eth1", "xdp", "off")
        return
    with held_link(net, "lb", "eth1", os.path.join(folder, "foreign")):
        yield attached(net, "eth1")


@contextlib.contextmanager
def held_link(net, name, device, path):
    """A program of its own, pinned at `path`, on an interface of the namespace; its link lives as long as this."""
    topology.run("bpftool", "prog", "load", CLASSIFIER, path, "type", "xdp")
    # A link is made where its interface is: within the namespace.
    script = ("import ctypes,os,socket,sys,time\n"
              "b=ctypes.CDLL('libbpf.so.1',use_errno=True)\n"
              f"p=b.bpf_obj_get({path!r}.encode())\n"
              f"l=b.bpf_link_create(p,socket.if_nametoindex({device!r}),37,None)\n"
              "print(l,flush=True)\n"
              "sys.stdin.read()\n")
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, preexec_fn=enter(net, name))
    try:
        assert int(holder.stdout.readline()) >= 0
        yield
    finally:
        holder.communicate(timeout=10)
        if os.path.exists(path):
            os.unlink(path)


def enter(net, name):
    """A network namespace, and nothing else of it: the pins of this mount namespace are to be seen."""
    def change():
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(f"/run/netns/{net.ns(name)}", os.O_RDONLY)
        assert libc.setns(fd, 0x40000000) == 0
    return change


@pytest.mark.parametrize("kind", ["netlink", "link"])
def test_port_with_anothers_program_is_refused(net, kind):
    with dead_dataplane(net):
        assert attempt(net, "--unload").returncode == 0
        assert attached(net, "eth1") is None
        remount(net)
        with foreign_program(net, kind, os.path.join(net.run_dir, "bpf")) as (_, number, name):
            said = refusal(net)
            assert f'port eth1: XDP program {number} ("{name}") is attached; --replace' in said, said
            assert attached(net, "eth1")[1] == number
            log = f"replacing-{kind}"
            net.start(log, "lb", SLUICE_XDP, "-c", net.config, "--replace")
            topology.wait_until("the agent that replaces", 30, lambda: "ready:" in net.log(log))
            assert f'port eth1: XDP program {number} ("{name}") is taken off' in net.log(log)
            assert attached(net, "eth1")[2] == "sl_balance"
            # The context takes off what netlink attached, which a link of ours would forbid.
            net.stop(log)
            assert attempt(net, "--unload").returncode == 0
            remount(net)
    wait_for_traffic(net, 5)


def test_replacing_spares_the_interface_of_another_namespace(net):
    """Which has the same number; links are the whole machine's."""
    number = net.run_in("lb", "cat", "/sys/class/net/eth1/ifindex").stdout.strip()
    folder = os.path.join(net.dir, "others")
    os.mkdir(folder)
    topology.run("mount", "-t", "bpf", "bpf", folder)
    topology.run("ip", "netns", "add", net.ns("twin"))
    try:
        net.ip("twin", "link", "add", "twin", "index", number, "type", "veth", "peer", "name", "peer")
        with dead_dataplane(net), held_link(net, "twin", "twin", os.path.join(folder, "twin")):
            twin = attached(net, "twin", "twin")
            assert attempt(net, "--unload").returncode == 0
            remount(net)
            with held_link(net, "lb", "eth1", os.path.join(folder, "foreign")):
                net.start("sparing", "lb", SLUICE_XDP, "-c", net.config, "--replace")
                topology.wait_until("the agent that replaces", 30, lambda: "ready:" in net.log("sparing"))
                assert attached(net, "eth1")[2] == "sl_balance"
                assert attached(net, "twin", "twin") == twin
                net.stop("sparing")
    finally:
        topology.run("umount", folder)
        topology.run("ip", "netns", "del", net.ns("twin"))


def remount(net):
    """--unload removes the bpffs; the programs of `ip netns exec` need it in this mount namespace."""
    folder = os.path.join(net.run_dir, "bpf")
    os.makedirs(folder, exist_ok=True)
    if not os.path.ismount(folder):
        topology.run("mount", "-t", "bpf", "bpf", folder)


def test_unload_frees_the_ports(net):
    assert attached(net, "eth1")[2] == attached(net, "eth2")[2] == "sl_balance"
    with dead_dataplane(net):
        assert attached(net, "eth1") and attached(net, "eth2")
        done = attempt(net, "--unload")
        assert done.returncode == 0 and "2 ports are free" in done.stderr, done
        assert attached(net, "eth1") is None and attached(net, "eth2") is None
        assert not os.path.exists(os.path.join(net.run_dir, "bpf"))
        remount(net)
    wait_for_traffic(net, 5)


def test_the_way_to_the_other_engine_is_told_and_leads_there(net):
    """sluice-dpdk names the command, and that asks neither which engine is meant now nor what services there are."""
    other = changed_config(net, ("engine: xdp", "engine: dpdk\n  hugepages: off"), ("  - name: web\n", "  - title: web\n"))
    with dead_dataplane(net):
        done = net.run_in("lb", os.path.join(topology.BUILD, "sluice-dpdk"), "-c", other, check=False, timeout=30)
        assert done.returncode == 1 and "take it off with: sluice-xdp --unload" in done.stderr, done
        found = json.loads(net.run_in("lb", os.path.join(topology.BUILD, "sluice"), "-j", "doctor", "-c",
                                      changed_config(net, ("engine: xdp", "engine: dpdk")), check=False).stdout)
        mends = {finding["command"] for finding in found["findings"] if finding["check"] == "port.xdp_program"}
        assert len(mends) == 1 and mends.pop().endswith("--unload")
        done = attempt(net, "--unload", config=other)
        assert done.returncode == 0 and "2 ports are free" in done.stderr, done
        assert attached(net, "eth1") is None
        remount(net)
    wait_for_traffic(net, 5)


def test_unload_needs_no_file_if_it_is_told_the_folder(net):
    with dead_dataplane(net):
        done = attempt(net, "--unload", "--run-dir", net.run_dir, config="/nonexistent.yaml")
        assert done.returncode == 0 and "2 ports are free" in done.stderr, done
        remount(net)
    wait_for_traffic(net, 5)


@pytest.mark.parametrize("options", [[], ["--fresh"], ["--replace"], ["--unload"]])
def test_second_agent_is_refused_before_it_touches_anything(net, options):
    before = attached(net, "eth1"), attached(net, "eth2"), sorted(os.listdir(os.path.join(net.run_dir, "bpf")))
    assert "another dataplane answers there" in refusal(net, *options)
    assert before == (attached(net, "eth1"), attached(net, "eth2"),
                      sorted(os.listdir(os.path.join(net.run_dir, "bpf"))))
    wait_for_traffic(net, 2)


def test_ports_of_dpdk_are_refused(net):
    with dead_dataplane(net):
        for port, name in (('pci: "0000:03:00.0"', "0000:03:00.0"), ('vdev: "net_null0"', "net_null0")):
            said = refusal(net, config=changed_config(net, ("interface: eth2", port)))
            assert f"port {name}: the xdp engine attaches to kernel interfaces" in said, said
            wait_for_traffic(net, 2)


# -- pins that do not fit

def test_port_that_is_not_configured_any_more_is_released(net):
    one = changed_config(net, ("    - interface: eth2\n", ""))
    with dead_dataplane(net):
        net.start("one-port", "lb", SLUICE_XDP, "-c", one)
        topology.wait_until("the agent of one port", 30, lambda: "ready:" in net.log("one-port"))
        assert attached(net, "eth1")[2] == "sl_balance" and attached(net, "eth2") is None
        net.stop("one-port")
    assert attached(net, "eth2")[2] == "sl_balance"
    wait_for_traffic(net, 5)


def test_other_sizes_are_refused_until_fresh(net):
    other = changed_config(net, ("flows: 65536", "flows: 1024"))
    with dead_dataplane(net):
        get(net)
        said = refusal(net, config=other)
        assert "other sizes than dataplane.flows 1024 asks for" in said and "--fresh" in said, said
        assert get(net).startswith("backend")
        net.start("fresh", "lb", SLUICE_XDP, "-c", other, "--fresh")
        topology.wait_until("the fresh agent", 30, lambda: "ready:" in net.log("fresh"))
        assert "former process" not in net.log("fresh")
        topology.wait_until("the fresh agent to be given its state", 10,
                            lambda: net.status().get("in_step") and net.status()["flows_capacity"] == 1024)
        wait_for_traffic(net, 5)
        net.stop("fresh")
        assert attempt(net, "--unload").returncode == 0
        remount(net)


def overwrite(path, value):
    topology.run("bpftool", "map", "update", "pinned", path, "key", "0", "0", "0", "0", "value",
                 *[str(byte) for byte in value])


def read(path):
    """The first element of a pinned array."""
    return bytes(int(byte, 16) for byte in bpftool("map", "lookup", "pinned", path, "key", "0", "0", "0", "0")["value"])


def test_tables_of_another_layout_are_refused(net):
    path = pin(net, "layout")
    with dead_dataplane(net):
        ours = read(path)
        overwrite(path, bytes(reversed(ours)))
        said = refusal(net)
        assert f"have layout {struct.unpack('<Q', bytes(reversed(ours)))[0]:016x}" in said and "--fresh" in said, said
        assert get(net).startswith("backend")
        overwrite(path, ours)


def corruptions(state, count):
    """What saved state may have become: a head that cannot be, and `count` words of chance."""
    yield "magic", b"NOTOURS!" + state[8:]
    yield "abi", state[:8] + bytes(8) + state[16:]
    yield "services", state[:40] + b"\xff\xff\xff\x7f" + state[44:]
    yield "backends", state[:44] + b"\xff\xff\xff\x7f" + state[48:]
    yield "nothing", bytes(len(state))
    rng = random.Random(5)
    for i in range(count):
        at = rng.randrange(40, 2000)
        yield f"chance {i} at {at}", state[:at] + rng.randbytes(8) + state[at + 8:]


def test_corrupt_state_is_refused_and_crashes_nothing(net):
    path = pin(net, "state")
    with dead_dataplane(net):
        state = read(path)
        assert state.startswith(b"SLSTATE1")
        for what, corrupt in corruptions(state, int(os.environ.get("SLUICE_CORRUPTIONS", "4"))):
            overwrite(path, corrupt)
            name = f"corrupt {what}".replace(" ", "-")
            process = net.start(name, "lb", SLUICE_XDP, "-c", net.config)
            topology.wait_until(f"a start with corrupt {what}", 30,
                                lambda: process.poll() is not None or "ready:" in net.log(name))
            said = net.log(name)
            if process.poll() is not None:
                assert process.returncode == 1 and "saved state" in said and "--fresh" in said, (what, said)
            else:
                assert what.startswith("chance"), (what, said)
                topology.wait_until("sluiced to put it right", 20, lambda: net.status().get("in_step"))
            net.stop(name)
        assert attempt(net, "--unload").returncode == 0
        remount(net)
    wait_for_traffic(net, 5)


# -- which engine

@topology.hugepages_alone()
def test_engines_agree_who_is_to_run(net):
    auto = changed_config(net, ("engine: xdp", "engine: auto"))
    judged = {}
    for engine in ("xdp", "dpdk"):
        done = net.run_in("lb", os.path.join(topology.BUILD, f"sluice-{engine}"), "-c", auto, "--check", check=False)
        judged[engine] = done.returncode
        if done.returncode != 0:
            other = "dpdk" if engine == "xdp" else "xdp"
            assert f"this program is the {engine} engine, this host is to run sluice-{other} (auto: " in done.stderr
    assert sorted(judged.values()) == [0, 1], judged
    pages = sum(int(open(os.path.join(folder, "free_hugepages")).read())
                for folder, _, names in os.walk("/sys/kernel/mm/hugepages") if "free_hugepages" in names)
    assert judged["dpdk"] == (0 if pages else 1)
    if judged["xdp"] != 0:
        return
    with dead_dataplane(net):
        net.start("auto", "lb", SLUICE_XDP, "-c", auto)
        topology.wait_until("sluiced to find it", 30, lambda: net.status().get("in_step"))
        status = net.status()
        assert status["engine_reason"] == "auto: kernel interfaces only, and no free hugepages"
        net.stop("auto")


def test_status_says_which_engine_and_why(net):
    status = net.status()
    assert status["engine"] == "xdp" and status["engine_reason"] == "dataplane.engine says so", status
    assert [(port["name"], port["driver"]) for port in status["ports"]] == [
        ("eth1", "xdp native"), ("eth2", "xdp native")]
    assert re.search(r"^dataplane +xdp \(dataplane.engine says so\)$", net.sluice("status").stdout, re.M)


# -- interfaces that come and go

def renew_client_interface(net):
    net.ip("client", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1", "netns", net.ns("lb"))
    for name, device in (("client", "eth0"), ("lb", "eth1")):
        net.quiet(name, device)
    net.run_in("client", "ethtool", "-K", "eth0", "gro", "on")
    net.add_addresses("client", "eth0", f"{topology.CLIENT4}/24", f"{topology.CLIENT6}/64")
    net.add_addresses("lb", "eth1", f"{topology.OWN4}/24", "2001:db8:1::1/64")
    net.ip("client", "route", "add", "default", "via", topology.OWN4)
    net.ip("client", "route", "add", "default", "via", "2001:db8:1::1")


def test_interface_gone_and_back(net):
    net.ip("client", "link", "del", "eth0")
    topology.wait_until("the agent to see it", 5, lambda: "port eth1: its interface is gone" in net.log("dataplane"))
    renew_client_interface(net)
    start = time.monotonic()
    wait_for_traffic(net, 2)
    print(f"back after {time.monotonic() - start:.2f} s")
    assert attached(net, "eth1")[2] == "sl_balance"
    assert net.status()["ports"][0]["mac"] == net.run_in("lb", "cat", "/sys/class/net/eth1/address").stdout.strip()


def test_interface_renewed_while_the_agent_was_dead(net):
    with dead_dataplane(net):
        net.ip("client", "link", "del", "eth0")
        renew_client_interface(net)
        assert attached(net, "eth1") is None
    assert attached(net, "eth1")[2] == "sl_balance"
    wait_for_traffic(net, 2)


def announce(net, name, device):
    """Its kernel is to tell the link of a new address, as hosts that take over do."""
    for key in (f"ipv4.conf.{device}.arp_notify", f"ipv6.conf.{device}.ndisc_notify"):
        net.run_in(name, "sysctl", "-qw", f"net.{key}=1")


def test_backend_with_another_link_address(net):
    loads = [Stream(net, 200, 10)]
    for i in (1, 2, 3):
        announce(net, f"b{i}", "eth0")
        net.ip(f"b{i}", "link", "set", "eth0", "address", f"02:00:00:00:77:0{i}")
    start = time.monotonic()
    wait_for_traffic(net, 2)
    print(f"back after {time.monotonic() - start:.2f} s")
    time.sleep(1)
    lost = loads[0].stop()
    assert lost["strayed"] == 0 and len(lost["lost"]) < 2 * 200, lost
    for host in (topology.SERVICE4, topology.SERVICE6):
        done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"), host, "80", "100")
        assert json.loads(done.stdout)["failed"] == 0, done.stdout


def test_port_with_another_link_address(net):
    announce(net, "lb", "eth2")
    net.ip("lb", "link", "set", "eth2", "address", "02:00:00:00:77:77")
    wait_for_traffic(net, 2)
    assert net.status()["ports"][1]["mac"] == "02:00:00:00:77:77"


def test_link_down_and_up(net):
    """First the far end of the backends' port: the balancer's loses its carrier and keeps its addresses.
    The kernel forgets the link addresses, and asks for them once a second."""
    net.ip("net", "link", "set", "lb", "down")
    topology.wait_until("the port to be down", 5, lambda: not net.status()["ports"][1]["up"])
    net.ip("net", "link", "set", "lb", "up")
    wait_for_traffic(net, 4)
    net.ip("lb", "link", "set", "eth2", "down")
    net.ip("lb", "link", "set", "eth2", "up")
    net.ip("lb", "addr", "add", "2001:db8:2::1/64", "dev", "eth2", "nodad")
    wait_for_traffic(net, 4)


# -- topologies of their own

@contextlib.contextmanager
def another(root, prepare):
    """A topology that `prepare` changes before it starts."""
    net = topology.Topology()
    try:
        net.make()
        net.start_nginx(root)
        net.start_echo()
        net.write_config(prepare(net))
        net.start_sluice()
        yield net
        net.check_invariants()
    except BaseException:
        for name in ("dataplane", "sluiced"):
            if name in net.processes:
                print(f"--- {name}\n{net.log(name)}")
        raise
    finally:
        net.remove()


def small(net):
    """64 flows, of which 8 may be embryonic; short timeouts; and services that nobody answers."""
    net.flows = 64
    limits = {"established": 6, "transitory": 1, "embryonic": 2, "udp": 6}
    wanted = {name: (*service, limits) for name, service in services().items()}
    wanted["mute"] = (f"{topology.SERVICE4}:81/tcp", [(f"{topology.backend4(1)}:8081", 1)], limits)
    wanted["mute-udp"] = (f"{topology.SERVICE4}:54/udp", [(f"{topology.backend4(1)}:8081", 1)], limits)
    net.run_in("b1", "nft", "add table inet mute; add chain inet mute in { type filter hook input priority 0; }; "
               "add rule inet mute in tcp dport 8081 drop; add rule inet mute in udp dport 8081 drop")
    return wanted


SESSIONS = """
import socket, sys, time
host, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
good, held = 0, []
for i in range(count):
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    held.append(s)
    s.settimeout(3)
    s.connect((host, 80 if kind == "tcp" else 53))
    if kind == "udp":
        s.send(b"who 1")
        good += s.recv(100).startswith(b"backend")
        continue
    s.send(b"GET /name HTTP/1.1\\r\\nHost: sluice\\r\\n\\r\\n")
    good += b"backend" in s.recv(1000)
# Every one once more: those that the table has no room for as well.
for s in held:
    s.send(b"who 2" if kind == "udp" else b"GET /name HTTP/1.1\\r\\nHost: sluice\\r\\n\\r\\n")
    good += b"backend" in s.recv(1000)
print(good, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def small_net(files):
    with another(files[0], small) as net:
        yield net


def wait_drained(net):
    topology.wait_until(lambda: f"no flow: {net.json('flow', 'count')}", 20,
                        lambda: net.status()["flows"] == 0 and net.status()["flows_capacity"] == 64)
    assert net.json("flow", "count")["embryonic"] == 0


@pytest.mark.parametrize("host", [topology.SERVICE4, topology.SERVICE6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_full_table_forwards_without_memory_and_drains(small_net, host, kind):
    net = small_net
    wait_drained(net)
    before = net.counters()["events"]
    clients = subprocess.Popen(net.in_ns("client", sys.executable, "-c", SESSIONS, host, kind, "150"),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert clients.stdout.readline() == "300\n"
        flows = net.status()["flows"]
        after = net.counters()["events"]
    finally:
        clients.communicate(timeout=10)
    rise = {name: after[name] - before[name] for name in after}
    assert 0 < flows <= 64 and rise["flow_created"] >= 64, (flows, rise)
    assert rise["flow_table_full"] > 80 and rise["stateless_forward"] > 80 and rise["stateless_reply"] > 80, rise
    wait_drained(net)
    created = net.counters()["events"]["flow_created"]
    assert get(net, WEB6 if ":" in host else WEB).startswith("backend")
    assert net.counters()["events"]["flow_created"] == created + 1
    wait_drained(net)


@pytest.mark.parametrize("port,kind", [(81, "STREAM"), (54, "DGRAM")])
def test_unanswered_flows_fill_their_share_alone(small_net, port, kind):
    net = small_net
    wait_drained(net)
    before = net.counters()["events"]
    script = ("import socket\nheld=[]\n"
              "for i in range(60):\n"
              f" s=socket.socket(socket.AF_INET,socket.SOCK_{kind}); held.append(s); s.setblocking(False)\n"
              f" s.connect_ex(('{topology.SERVICE4}',{port}))\n"
              + (" s.send(b'x')\n" if kind == "DGRAM" else ""))
    net.run_in("client", sys.executable, "-c", script)
    after = net.counters()["events"]
    count = net.json("flow", "count")
    assert count["embryonic"] <= 8 and after["embryonic_full"] - before["embryonic_full"] >= 40, (count, after)
    assert get(net, WEB).startswith("backend")  # without a flow, if there is none yet
    wait_drained(net)
    created = net.counters()["events"]["flow_created"]
    assert get(net, WEB).startswith("backend")
    assert net.counters()["events"]["flow_created"] == created + 1


def bridged(net):
    """The client's port is a bridge with the interface in it: a device without native XDP."""
    net.ports = ["br1", "eth2"]
    net.ip("lb", "addr", "flush", "dev", "eth1")
    net.ip("lb", "link", "add", "br1", "type", "bridge")
    net.ip("lb", "link", "set", "eth1", "master", "br1")
    net.add_addresses("lb", "br1", f"{topology.OWN4}/24", "2001:db8:1::1/64")
    return services()


def test_port_without_native_xdp(files):
    """Generic mode for all ports: a program in native mode cannot send to a device without it."""
    with another(files[0], bridged) as net:
        assert [port["driver"] for port in net.status()["ports"]] == ["xdp generic", "xdp generic"]
        assert "port br1: its driver has no native XDP, generic mode is slower" in net.log("dataplane")
        assert re.search(r"^br1 +xdp generic ", net.sluice("status").stdout, re.M)
        assert attached(net, "br1")[0] == attached(net, "eth2")[0] == 2
        for host in (topology.SERVICE4, topology.SERVICE6):
            done = net.run_in("client", sys.executable, os.path.join(HERE, "http_client.py"), host, "80", "200")
            assert json.loads(done.stdout)["failed"] == 0, done.stdout
            done = net.run_in("client", sys.executable, os.path.join(HERE, "udp_client.py"), host, "53", "200")
            assert done.stdout.split() == ["200", "200"]
        restart(net)
        net.wait_in_step()
        assert [port["driver"] for port in net.status()["ports"]] == ["xdp generic", "xdp generic"]
        assert get(net).startswith("backend")


def test_sluice_xdp_refuses_another_number(net):
    net.change_workers(net.workers + 1, "sluice-xdp has no workers, the number sizes its tables")
