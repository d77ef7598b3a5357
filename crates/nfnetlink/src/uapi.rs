//! Numbers of the kernel's netlink interface, grouped by the header that defines them.

/// `linux/netlink.h`: message types, flags and socket options.
pub(crate) mod netlink {
    pub(crate) const NLMSG_ERROR: u16 = 2;
    pub(crate) const NLMSG_DONE: u16 = 3;

    pub(crate) const NLM_F_REQUEST: u16 = 0x1;
    pub(crate) const NLM_F_ACK: u16 = 0x4;
    pub(crate) const NLM_F_DUMP_INTR: u16 = 0x10;
    pub(crate) const NLM_F_DUMP: u16 = 0x300;
    pub(crate) const NLM_F_EXCL: u16 = 0x200;
    pub(crate) const NLM_F_CREATE: u16 = 0x400;
    pub(crate) const NLM_F_APPEND: u16 = 0x800;
    pub(crate) const NLM_F_CAPPED: u16 = 0x100;
    pub(crate) const NLM_F_ACK_TLVS: u16 = 0x200;

    pub(crate) const NLMSGERR_ATTR_MSG: u16 = 1;

    pub(crate) const NLA_F_NESTED: u16 = 0x8000;
    pub(crate) const NLA_F_NET_BYTEORDER: u16 = 0x4000;
    pub(crate) const NLA_TYPE_MASK: u16 = 0x3fff;
}

/// `linux/netfilter/nfnetlink.h`: subsystems and batches.
pub(crate) mod nfnetlink {
    pub(crate) const SUBSYS_CTNETLINK: u16 = 1;
    pub(crate) const SUBSYS_IPSET: u16 = 6;
    pub(crate) const SUBSYS_NFTABLES: u16 = 10;
    /// `NFNLGRP_NFTABLES`, `NFNLGRP_NFTRACE`: groups to listen to.
    pub(crate) const GROUP_NFTABLES: u32 = 7;
    pub(crate) const GROUP_NFTRACE: u32 = 9;
    pub(crate) const BATCH_BEGIN: u16 = 16;
    pub(crate) const BATCH_END: u16 = 17;
}

/// `linux/netfilter/nf_tables.h`: messages and attributes.
pub(crate) mod nft {
    pub(crate) const MSG_NEWTABLE: u16 = 0;
    pub(crate) const MSG_GETTABLE: u16 = 1;
    pub(crate) const MSG_DELTABLE: u16 = 2;
    pub(crate) const MSG_NEWCHAIN: u16 = 3;
    pub(crate) const MSG_GETCHAIN: u16 = 4;
    pub(crate) const MSG_DELCHAIN: u16 = 5;
    pub(crate) const MSG_NEWRULE: u16 = 6;
    pub(crate) const MSG_GETRULE: u16 = 7;
    pub(crate) const MSG_DELRULE: u16 = 8;
    pub(crate) const MSG_NEWSET: u16 = 9;
    pub(crate) const MSG_GETSET: u16 = 10;
    pub(crate) const MSG_DELSET: u16 = 11;
    pub(crate) const MSG_NEWSETELEM: u16 = 12;
    pub(crate) const MSG_GETSETELEM: u16 = 13;
    pub(crate) const MSG_DELSETELEM: u16 = 14;
    pub(crate) const MSG_NEWGEN: u16 = 15;
    pub(crate) const MSG_GETGEN: u16 = 16;
    pub(crate) const MSG_TRACE: u16 = 17;

    pub(crate) const GEN_ID: u16 = 1;
    pub(crate) const GEN_PROC_PID: u16 = 2;
    pub(crate) const GEN_PROC_NAME: u16 = 3;

    pub(crate) const TRACE_TABLE: u16 = 1;
    pub(crate) const TRACE_CHAIN: u16 = 2;
    pub(crate) const TRACE_RULE_HANDLE: u16 = 3;
    pub(crate) const TRACE_TYPE: u16 = 4;
    pub(crate) const TRACE_VERDICT: u16 = 5;
    pub(crate) const TRACE_ID: u16 = 6;
    pub(crate) const TRACE_NETWORK_HEADER: u16 = 8;
    pub(crate) const TRACE_TRANSPORT_HEADER: u16 = 9;
    pub(crate) const TRACE_IIF: u16 = 10;
    pub(crate) const TRACE_OIF: u16 = 12;
    pub(crate) const TRACE_MARK: u16 = 14;
    pub(crate) const TRACE_POLICY: u16 = 16;
    pub(crate) const TRACE_TYPE_POLICY: u32 = 1;
    pub(crate) const TRACE_TYPE_RETURN: u32 = 2;
    pub(crate) const TRACE_TYPE_RULE: u32 = 3;

    pub(crate) const TABLE_NAME: u16 = 1;
    pub(crate) const TABLE_FLAGS: u16 = 2;
    pub(crate) const TABLE_USERDATA: u16 = 6;

    pub(crate) const CHAIN_TABLE: u16 = 1;
    pub(crate) const CHAIN_NAME: u16 = 3;
    pub(crate) const CHAIN_HOOK: u16 = 4;
    pub(crate) const CHAIN_POLICY: u16 = 5;
    pub(crate) const CHAIN_TYPE: u16 = 7;
    pub(crate) const CHAIN_USERDATA: u16 = 12;
    pub(crate) const HOOK_HOOKNUM: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;

    pub(crate) const RULE_TABLE: u16 = 1;
    pub(crate) const RULE_CHAIN: u16 = 2;
    pub(crate) const RULE_HANDLE: u16 = 3;
    pub(crate) const RULE_EXPRESSIONS: u16 = 4;
    pub(crate) const RULE_USERDATA: u16 = 7;

    pub(crate) const SET_TABLE: u16 = 1;
    pub(crate) const SET_NAME: u16 = 2;
    pub(crate) const SET_FLAGS: u16 = 3;
    pub(crate) const SET_KEY_TYPE: u16 = 4;
    pub(crate) const SET_KEY_LEN: u16 = 5;
    pub(crate) const SET_DATA_TYPE: u16 = 6;
    pub(crate) const SET_DATA_LEN: u16 = 7;
    pub(crate) const SET_DESC: u16 = 9;
    pub(crate) const SET_DESC_SIZE: u16 = 1;
    pub(crate) const SET_ID: u16 = 10;
    pub(crate) const SET_TIMEOUT: u16 = 11;
    pub(crate) const SET_USERDATA: u16 = 13;
    pub(crate) const SET_EXPR: u16 = 17;
    pub(crate) const SET_F_ANONYMOUS: u32 = 0x1;
    pub(crate) const SET_F_CONSTANT: u32 = 0x2;
    pub(crate) const SET_F_INTERVAL: u32 = 0x4;
    pub(crate) const SET_F_MAP: u32 = 0x8;
    pub(crate) const SET_F_TIMEOUT: u32 = 0x10;
    pub(crate) const SET_F_EVAL: u32 = 0x20;

    pub(crate) const ELEM_LIST_TABLE: u16 = 1;
    pub(crate) const ELEM_LIST_SET: u16 = 2;
    pub(crate) const ELEM_LIST_ELEMENTS: u16 = 3;
    pub(crate) const ELEM_LIST_SET_ID: u16 = 4;
    pub(crate) const LIST_ELEM: u16 = 1;
    pub(crate) const ELEM_KEY: u16 = 1;
    pub(crate) const ELEM_DATA: u16 = 2;
    pub(crate) const ELEM_FLAGS: u16 = 3;
    pub(crate) const ELEM_TIMEOUT: u16 = 4;
    pub(crate) const ELEM_EXPIRATION: u16 = 5;
    pub(crate) const ELEM_USERDATA: u16 = 6;
    pub(crate) const ELEM_EXPR: u16 = 7;
    pub(crate) const ELEM_EXPRESSIONS: u16 = 11;
    pub(crate) const ELEM_F_INTERVAL_END: u32 = 1;

    pub(crate) const DATA_VALUE: u16 = 1;
    pub(crate) const DATA_VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;

    /// `NFT_DATA_VERDICT`: the data type of a verdict map.
    pub(crate) const TYPE_VERDICT: u32 = 0xffff_ff00;

    pub(crate) const EXPR_NAME: u16 = 1;
    pub(crate) const EXPR_DATA: u16 = 2;
}

/// `linux/netfilter/nf_tables.h`: names and values of expressions.
pub(crate) mod expr {
    pub(crate) const META: &str = "meta";
    pub(crate) const PAYLOAD: &str = "payload";
    pub(crate) const CT: &str = "ct";
    pub(crate) const CMP: &str = "cmp";
    pub(crate) const BITWISE: &str = "bitwise";
    pub(crate) const LOOKUP: &str = "lookup";
    pub(crate) const DYNSET: &str = "dynset";
    pub(crate) const NUMGEN: &str = "numgen";
    pub(crate) const HASH: &str = "hash";
    pub(crate) const FIB: &str = "fib";
    pub(crate) const SOCKET: &str = "socket";
    pub(crate) const NOTRACK: &str = "notrack";
    pub(crate) const NAT: &str = "nat";
    pub(crate) const MASQ: &str = "masq";
    pub(crate) const REDIR: &str = "redir";
    pub(crate) const REJECT: &str = "reject";
    pub(crate) const COUNTER: &str = "counter";
    pub(crate) const IMMEDIATE: &str = "immediate";

    pub(crate) const VERDICT_REGISTER: u32 = 0;
    pub(crate) const DIRECTION_ORIGINAL: u8 = 0;
    pub(crate) const CMP_EQ: u32 = 0;
    pub(crate) const CMP_NEQ: u32 = 1;
    pub(crate) const BITWISE_BOOL: u32 = 0;
    pub(crate) const LOOKUP_INVERTED: u32 = 1;
    pub(crate) const DYNSET_UPDATE: u32 = 1;
    pub(crate) const NUMGEN_RANDOM: u32 = 1;
    pub(crate) const HASH_JENKINS: u32 = 0;
    pub(crate) const SOCKET_TRANSPARENT: u32 = 0;
    pub(crate) const NAT_DESTINATION: u32 = 1;
    /// `NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED`: the kernel sets these itself.
    pub(crate) const NAT_IMPLIED: u32 = 3;
    /// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
    pub(crate) const NAT_FULLY_RANDOM: u32 = 0x10;
    pub(crate) const FIB_ADDRTYPE: u32 = 3;
    pub(crate) const FIB_SOURCE: u32 = 1;
    pub(crate) const FIB_DESTINATION: u32 = 2;
    pub(crate) const REJECT_ICMP: u32 = 0;
    pub(crate) const REJECT_TCP_RESET: u32 = 1;
    pub(crate) const REJECT_ICMPX: u32 = 2;
    pub(crate) const ICMPX_PORT_UNREACHABLE: u8 = 1;
}

/// `linux/netfilter/nfnetlink_conntrack.h`: messages and attributes.
pub(crate) mod ct {
    pub(crate) const STATUS: u16 = 3;
    pub(crate) const STATUS_MASK: u16 = 26;
    /// `IPS_SEEN_REPLY` and `IPS_DST_NAT`.
    pub(crate) const STATUS_SEEN_REPLY: u32 = 1 << 1;
    pub(crate) const STATUS_DST_NAT: u32 = 1 << 5;
    pub(crate) const MSG_GET: u16 = 1;
    pub(crate) const MSG_DELETE: u16 = 2;

    pub(crate) const TUPLE_ORIG: u16 = 1;
    pub(crate) const TUPLE_REPLY: u16 = 2;
    pub(crate) const ID: u16 = 12;
    pub(crate) const FILTER: u16 = 25;
    pub(crate) const FILTER_ORIG_FLAGS: u16 = 1;
    pub(crate) const FILTER_REPLY_FLAGS: u16 = 2;
    /// Compare the protocol number (bit of the kernel's `CTA_FILTER_FLAG`).
    pub(crate) const FILTER_F_PROTO_NUM: u32 = 1 << 3;

    pub(crate) const TUPLE_IP: u16 = 1;
    pub(crate) const TUPLE_PROTO: u16 = 2;
    pub(crate) const IP_V4_SRC: u16 = 1;
    pub(crate) const IP_V4_DST: u16 = 2;
    pub(crate) const IP_V6_SRC: u16 = 3;
    pub(crate) const IP_V6_DST: u16 = 4;
    pub(crate) const PROTO_NUM: u16 = 1;
    pub(crate) const PROTO_SRC_PORT: u16 = 2;
    pub(crate) const PROTO_DST_PORT: u16 = 3;
}

/// `linux/netfilter/ipset/ip_set.h`: messages and attributes.
pub(crate) mod ipset {
    pub(crate) const PROTOCOL_VERSION: u8 = 6;

    pub(crate) const CMD_CREATE: u16 = 2;
    pub(crate) const CMD_DESTROY: u16 = 3;
    pub(crate) const CMD_LIST: u16 = 7;
    pub(crate) const CMD_ADD: u16 = 9;
    pub(crate) const CMD_DEL: u16 = 10;
    pub(crate) const CMD_TYPE: u16 = 13;

    pub(crate) const PROTOCOL: u16 = 1;
    pub(crate) const SETNAME: u16 = 2;
    pub(crate) const TYPENAME: u16 = 3;
    pub(crate) const REVISION: u16 = 4;
    pub(crate) const FAMILY: u16 = 5;
    pub(crate) const DATA: u16 = 7;
    pub(crate) const ADT: u16 = 8;
    pub(crate) const LINENO: u16 = 9;

    pub(crate) const IP: u16 = 1;
    pub(crate) const PORT: u16 = 4;
    pub(crate) const PORT_TO: u16 = 5;
    pub(crate) const PROTO: u16 = 7;
    pub(crate) const HASHSIZE: u16 = 18;
    pub(crate) const MAXELEM: u16 = 19;
    pub(crate) const IP2: u16 = 20;
    pub(crate) const CIDR2: u16 = 21;

    pub(crate) const IPADDR_IPV4: u16 = 1;
    pub(crate) const IPADDR_IPV6: u16 = 2;
}

/// `linux/genetlink.h`: the controller that knows the families.
pub(crate) mod genl {
    pub(crate) const ID_CTRL: u16 = 16;
    pub(crate) const CMD_GETFAMILY: u8 = 3;
    pub(crate) const CTRL_VERSION: u8 = 2;
    pub(crate) const FAMILY_ID: u16 = 1;
    pub(crate) const FAMILY_NAME: u16 = 2;
}

/// `linux/ip_vs.h`: messages and attributes.
pub(crate) mod ipvs {
    pub(crate) const NAME: &str = "IPVS";
    pub(crate) const VERSION: u8 = 1;

    pub(crate) const CMD_NEW_SERVICE: u8 = 1;
    pub(crate) const CMD_SET_SERVICE: u8 = 2;
    pub(crate) const CMD_DEL_SERVICE: u8 = 3;
    pub(crate) const CMD_GET_SERVICE: u8 = 4;
    pub(crate) const CMD_NEW_DEST: u8 = 5;
    pub(crate) const CMD_SET_DEST: u8 = 6;
    pub(crate) const CMD_DEL_DEST: u8 = 7;
    pub(crate) const CMD_GET_DEST: u8 = 8;
    pub(crate) const CMD_SET_CONFIG: u8 = 12;
    pub(crate) const CMD_GET_CONFIG: u8 = 13;

    pub(crate) const SERVICE: u16 = 1;
    pub(crate) const DEST: u16 = 2;
    pub(crate) const TIMEOUT_TCP: u16 = 4;
    pub(crate) const TIMEOUT_TCP_FIN: u16 = 5;
    pub(crate) const TIMEOUT_UDP: u16 = 6;

    pub(crate) const SVC_AF: u16 = 1;
    pub(crate) const SVC_PROTOCOL: u16 = 2;
    pub(crate) const SVC_ADDR: u16 = 3;
    pub(crate) const SVC_PORT: u16 = 4;
    pub(crate) const SVC_SCHED_NAME: u16 = 6;
    pub(crate) const SVC_FLAGS: u16 = 7;
    pub(crate) const SVC_TIMEOUT: u16 = 8;
    pub(crate) const SVC_NETMASK: u16 = 9;

    pub(crate) const DEST_ADDR: u16 = 1;
    pub(crate) const DEST_PORT: u16 = 2;
    pub(crate) const DEST_FWD_METHOD: u16 = 3;
    pub(crate) const DEST_WEIGHT: u16 = 4;
    pub(crate) const DEST_U_THRESH: u16 = 5;
    pub(crate) const DEST_L_THRESH: u16 = 6;
    pub(crate) const DEST_ACTIVE_CONNS: u16 = 7;
    pub(crate) const DEST_INACT_CONNS: u16 = 8;
    pub(crate) const DEST_ADDR_FAMILY: u16 = 11;

    pub(crate) const F_PERSISTENT: u32 = 0x1;
    pub(crate) const F_SCHED_2: u32 = 0x10;
}

/// `linux/rtnetlink.h`, `linux/if_link.h`, `linux/if_addr.h`: links and addresses.
pub(crate) mod route {
    pub(crate) const NEWLINK: u16 = 16;
    pub(crate) const DELLINK: u16 = 17;
    pub(crate) const GETLINK: u16 = 18;
    pub(crate) const NEWADDR: u16 = 20;
    pub(crate) const DELADDR: u16 = 21;
    pub(crate) const GETADDR: u16 = 22;

    pub(crate) const IFLA_IFNAME: u16 = 3;
    pub(crate) const IFLA_LINKINFO: u16 = 18;
    pub(crate) const IFLA_INFO_KIND: u16 = 1;
    pub(crate) const IFA_ADDRESS: u16 = 1;
    pub(crate) const IFA_LOCAL: u16 = 2;
}
