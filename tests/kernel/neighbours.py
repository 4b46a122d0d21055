"""What else lives in a node's tables: kube-proxy, kubelet, Docker, a host firewall and their sets."""

from controller.dataplane.tools import Backend
from tests.kernel.host import TOOLS, Host

_SETS = """\
create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536
add KUBE-CLUSTER-IP 10.96.0.1,tcp:443
add KUBE-CLUSTER-IP 10.96.0.10,udp:53
create cali40s:abc hash:net family inet hashsize 1024 maxelem 1048576
add cali40s:abc 10.0.0.0/24
create kube-bitmap bitmap:port range 30000-32767
add kube-bitmap 30080
create firewall hash:net,iface family inet
add firewall 192.0.2.0/24,eth0
create both list:set size 8
add both cali40s:abc
add both firewall
create six hash:net family inet6 comment
add six 2001:db8::/32 comment "of pg4-known and PODGATE"
create pg4_known hash:ip family inet
add pg4_known 10.0.0.1
create pg40-x hash:ip family inet
create xpg4-iso-e hash:ip family inet
"""

_TABLES = """\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 -j NOTRACK
COMMIT
*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:MYFIREWALL - [0:0]
:PODGATEWAY - [0:0]
-A PREROUTING -i lo -j MARK --set-xmark 0x5/0xff
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment "ssh \\"PODGATE\\" -j PODGATE" -j ACCEPT
-A INPUT -j MYFIREWALL
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -m comment --comment podgate -j PODGATEWAY
-A FORWARD -m set --match-set {set} src -j MARK --set-xmark 0x10/0x10
-A MYFIREWALL -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A MYFIREWALL -m connmark --mark 0x1/0x1 -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff
-A PODGATEWAY -j RETURN
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SEP-AAAA - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d {service} -p tcp -m comment --comment "shop/web:http" -m tcp --dport 80 -j KUBE-SEP-AAAA
-A KUBE-SEP-AAAA -s {pod} -j KUBE-MARK-MASQ
-A KUBE-SEP-AAAA -p tcp -m tcp -j DNAT --to-destination {endpoint}
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-USER -j RETURN
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j RETURN
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FIREWALL -m comment --comment "block incoming localnet connections" -j DROP
COMMIT
"""

_ADDRESSES = {
    4: {"set": "both", "service": "10.96.0.7/32", "pod": "10.244.1.5/32", "endpoint": "10.244.1.5:8080"},
    6: {"set": "six", "service": "fd96::7/128", "pod": "fd44::5/128", "endpoint": "[fd44::5]:8080"},
}


def move_in(host: Host, *backends: Backend) -> None:
    """Fill the tables of some backends as those of a busy node are, in both families, and make its sets."""
    host.run("ipset", "restore", text=_SETS)
    for backend in backends:
        for family in TOOLS:
            host.restore(_TABLES.format(**_ADDRESSES[family]), family, backend)
