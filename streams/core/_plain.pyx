# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Plain touches, compiled: from a record's bytes to the finished touch record in one pass over them.

Rule: a fast twin of `streams.core.clicks` and `streams.core.panes`, never a second opinion. A touch is plain where every
field is a known one with a text without escapes or a whole number, and it is valid and in time; for anything else
`read_plain` returns None and the Python code takes the record, be it to refuse it. What a touch's statements come to
is asked of that code once for each combination of them (a `Plan`) and then remembered as ready bytes. Without a
compiler the module is missing and everything goes through the Python code; a test holds the two against each other.

Where it stands: record -> here -> `clicks`, which deduplicates and counts.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcmp, memcpy, memset

cimport cython
from schemas._batches cimport Keyed
from schemas._fetched cimport Place, Records

import orjson
from xxhash import xxh3_64_digest, xxh3_64_hexdigest, xxh3_128_digest

from schemas.errors import Refused
from schemas.events import MAX_TIME_MS as _MAX_TIME_MS
from streams.core.addresses import HW_CID, read_query
from streams.core.addresses import _names as parameter_names
from streams.core.events import CLOCK_TOLERANCE_MS, FUTURE_TOLERANCE_MS, MAX_AGE_MS, accept
from streams.core.state import ALWAYS, read_mark

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

ctypedef unsigned char byte

cdef enum:
    # In the order of names, which is the fingerprint's; those after CONTENT_END say how the event travelled.
    AD, AD_GROUP, AUDIENCE, CAMPAIGN, CLICK_ID, CONSENT, CONTENT, COST, COUNTRY, CURRENCY, DEVICE, EVENT_ID, MEDIUM
    PARTNER, PLACEMENT, REFERRER, SITE, SOURCE, SUB1, SUB2, SUB3, SUB4, SUB5, TERM, TIME, TYPE, URL, USER_ID, VARIANT
    VISITOR_ID
    CONTENT_END
    IP = CONTENT_END
    RECEIVED_AT, SCHEMA, SENT_AT, USER_AGENT
    FIELDS_END

_NAMES = (
    "ad", "ad_group", "audience", "campaign", "click_id", "consent", "content", "cost", "country", "currency",
    "device", "event_id", "medium", "partner", "placement", "referrer", "site", "source", "sub1", "sub2", "sub3",
    "sub4", "sub5", "term", "time", "type", "url", "user_id", "variant", "visitor_id",
    "ip", "received_at", "schema", "sent_at", "user_agent",
)  # fmt: skip
_LIMITS = {
    "event_id": 64, "site": 64, "user_id": 128, "visitor_id": 128, "url": 8192, "referrer": 8192, "click_id": 2048,
    "user_agent": 2048,
}  # fmt: skip
"""Bytes, which is never more than the characters that `schemas.events` allows; the others are 256."""

_PLANNED = ("channel", "source", "medium", "campaign", "content", "term", "internal", "evidence", "stated", "quiet")
_PLANNED_TOO = ("partner", "currency", "said")

DEF BUFFER = 1 << 16
DEF LARGEST = 1 << 14
DEF MOST_PLANS = 30_000
DEF MOST_CLICK_IDS = 6
DEF UNKNOWN = 255
DEF SLOTS = 256

cdef struct Text:
    const byte* at
    Py_ssize_t size

cdef struct Touch:
    Text field[FIELDS_END]
    unsigned long long seen
    bint wide
    long long time
    long long sent
    long long received
    long long cost

cdef Text name_of[FIELDS_END]
cdef Text opening[CONTENT_END]
cdef Text counter[5]
cdef Py_ssize_t limit_of[FIELDS_END]
cdef byte field_at[SLOTS]
cdef byte plain_value[256]
cdef byte host_letter[256]
cdef byte content_buffer[BUFFER]
cdef byte value_buffer[BUFFER]
cdef byte key_buffer[BUFFER]

cdef long long MAX_TIME = _MAX_TIME_MS
cdef long long CLOCK = CLOCK_TOLERANCE_MS
cdef long long FUTURE = FUTURE_TOLERANCE_MS
cdef long long MAX_AGE = MAX_AGE_MS["click"]
cdef long long MINUTE_MS = 60_000

cdef dict _plans = {}
_kept = []


cdef inline Text text_of(bytes source):
    """The bytes of a constant, which is kept for good."""
    cdef Text text
    _kept.append(source)
    text.at = <const byte*>PyBytes_AS_STRING(source)
    text.size = PyBytes_GET_SIZE(source)
    return text


cdef inline unsigned int slot_of(const byte* name, Py_ssize_t size) noexcept nogil:
    return (size * 13 + name[0] * 7 + name[size - 1] * 31 + name[size >> 1] * 3) & (SLOTS - 1)


cdef inline int field_of(const byte* name, Py_ssize_t size) noexcept nogil:
    """The field of a name, or -1."""
    cdef unsigned int slot
    cdef int field
    if size == 0:
        return -1
    slot = slot_of(name, size)
    while True:
        field = field_at[slot]
        if field == UNKNOWN:
            return -1
        if name_of[field].size == size and memcmp(name_of[field].at, name, size) == 0:
            return field
        slot = (slot + 1) & (SLOTS - 1)


cdef inline const byte* past_blanks(const byte* p, const byte* end) noexcept nogil:
    while p < end and (p[0] == 32 or p[0] == 10 or p[0] == 13 or p[0] == 9):
        p += 1
    return p


cdef inline const byte* whole_number(const byte* p, const byte* end, long long* number) noexcept nogil:
    """Digits without a leading zero, at most 15; NULL where there is anything else."""
    cdef const byte* start = p
    cdef long long found = 0
    while p < end and 48 <= p[0] <= 57:
        found = found * 10 + (p[0] - 48)
        p += 1
        if p - start > 15:
            return NULL
    if p == start or (start[0] == 48 and p - start > 1):
        return NULL
    number[0] = found
    return p


cdef inline const byte* amount(const byte* p, const byte* end, long long* micros) noexcept nogil:
    """A plain decimal: at most nine digits before the dot and six after it; NULL where there is anything else."""
    cdef const byte* start = p
    cdef long long whole = 0
    cdef long long part = 0
    cdef int places = 0
    p = whole_number(p, end, &whole)
    if p == NULL or p - start > 9:
        return NULL
    if p < end and p[0] == 46:
        p += 1
        while p < end and 48 <= p[0] <= 57:
            if places == 6:
                return NULL
            part = part * 10 + (p[0] - 48)
            places += 1
            p += 1
        if places == 0:
            return NULL
        while places < 6:
            part *= 10
            places += 1
    micros[0] = whole * 1_000_000 + part
    return p


cdef bint scan(const byte* p, const byte* end, Touch* touch) noexcept nogil:
    """Read a plain touch; False where it is not one."""
    cdef const byte* start
    cdef int field
    cdef bint quoted
    memset(touch, 0, sizeof(Touch))
    p = past_blanks(p, end)
    if p >= end or p[0] != 123:  # {
        return False
    p += 1
    while True:
        p = past_blanks(p, end)
        if p >= end or p[0] != 34:  # "
            return False
        p += 1
        start = p
        while p < end and p[0] != 34:
            p += 1
        if p >= end:
            return False
        field = field_of(start, p - start)
        if field < 0 or (touch.seen >> field) & 1:
            return False
        touch.seen |= 1ULL << field
        p = past_blanks(p + 1, end)
        if p >= end or p[0] != 58:  # :
            return False
        p = past_blanks(p + 1, end)
        if p >= end:
            return False
        if field == TIME:
            p = whole_number(p, end, &touch.time)
        elif field == SENT_AT:
            p = whole_number(p, end, &touch.sent)
        elif field == RECEIVED_AT:
            p = whole_number(p, end, &touch.received)
        elif field == SCHEMA:
            if p[0] != 49:
                return False
            p += 1
        elif field == COST:
            quoted = p[0] == 34
            p = amount(p + quoted, end, &touch.cost)
            if quoted:
                if p == NULL or p >= end or p[0] != 34:
                    return False
                p += 1
        else:
            if p[0] != 34:
                return False
            p += 1
            start = p
            while p < end and p[0] != 34:
                if p[0] < 32 or p[0] == 92:  # control, backslash
                    return False
                if p[0] >= 128:
                    touch.wide = True
                p += 1
            if p >= end or p == start or p - start > limit_of[field]:
                return False
            touch.field[field].at = start
            touch.field[field].size = p - start
            p += 1
        if p == NULL:
            return False
        p = past_blanks(p, end)
        if p >= end:
            return False
        if p[0] == 44:  # ,
            p += 1
            continue
        if p[0] != 125:  # }
            return False
        return past_blanks(p + 1, end) == end


cdef inline bint is_word(Text text, const char* word, Py_ssize_t size) noexcept nogil:
    return text.size == size and memcmp(text.at, word, size) == 0


cdef inline byte* put(byte* to, Text text) noexcept nogil:
    memcpy(to, text.at, text.size)
    return to + text.size


cdef inline byte* put_number(byte* to, long long number) noexcept nogil:
    cdef byte digits[20]
    cdef int count = 0
    while True:
        digits[count] = 48 + number % 10
        number //= 10
        count += 1
        if number == 0:
            break
    while count:
        count -= 1
        to[0] = digits[count]
        to += 1
    return to


cdef inline byte* put_bytes(byte* to, bytes text):
    memcpy(to, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return to + PyBytes_GET_SIZE(text)


cdef inline Py_ssize_t scheme(Text address) noexcept nogil:
    """The length of `https://` or `http://`, 0 where the address has neither."""
    if address.size > 8 and memcmp(address.at, b"https://", 8) == 0:
        return 8
    if address.size > 7 and memcmp(address.at, b"http://", 7) == 0:
        return 7
    return 0


cdef inline Text authority(Text address) noexcept nogil:
    """`https://host` of an address whose host is written plainly; else all of the address."""
    cdef Py_ssize_t at = scheme(address)
    if at == 0:
        return address
    while at < address.size and host_letter[address.at[at]]:
        at += 1
    if at < address.size and address.at[at] == 47:  # /
        address.size = at
    return address


cdef inline unsigned int murmur2(const byte* data, Py_ssize_t size) noexcept nogil:
    """The hash of Kafka's default partitioner."""
    cdef unsigned int m = 0x5BD1E995
    cdef unsigned int h = 0x9747B28CU ^ <unsigned int>size
    cdef unsigned int k
    cdef Py_ssize_t at = 0
    while size - at >= 4:
        k = data[at] | (<unsigned int>data[at + 1] << 8) | (<unsigned int>data[at + 2] << 16) | (
            <unsigned int>data[at + 3] << 24
        )
        k *= m
        k ^= k >> 24
        k *= m
        h *= m
        h ^= k
        at += 4
    if size - at == 3:
        h ^= <unsigned int>data[at + 2] << 16
    if size - at >= 2:
        h ^= <unsigned int>data[at + 1] << 8
    if size - at >= 1:
        h ^= data[at]
        h *= m
    h ^= h >> 13
    h *= m
    h ^= h >> 15
    return h & 0x7FFFFFFF


cdef class Plan:
    """What the statements of a touch come to, as the Python code has it, and from when until when that holds."""

    cdef object registry
    cdef object version
    cdef long long start
    cdef long long until
    cdef bint unasked
    """Consent need not be stated."""
    cdef bytes tail
    """The end of the touch record: classification, partner, currency, validity."""
    cdef bytes evidence
    """UTM parameters of the address as evidence; only where a click id, seen once, follows them."""
    cdef bytes visitor_prefix
    cdef tuple dimensions
    """Of panes: site, channel, campaign, partner, variant, audience, currency."""
    cdef int slot
    """Of the pane's counters; -1: internal, counted nowhere."""
    cdef long long batch
    cdef long long minute
    cdef list numbers
    """The changes of this minute's pane, in the batch of that number."""


@cython.no_gc
cdef class Plain(Keyed):
    """A plain touch that belongs to this partition, ready but for deduplication: the record of ``touches`` to be sent.

    Its key is the visitor id.
    """

    cdef object source
    """The event's record, or the records of which it is one."""
    cdef Py_ssize_t place
    cdef readonly bytes visitor
    """State key of the visitor."""
    cdef readonly long long received_at
    cdef long long time
    cdef long long cost
    cdef bint names_click
    """It is a click with an id, by which landings name it."""
    cdef Plan plan

    @property
    def record(self):
        """The event's record."""
        return (<Records>self.source).record(self.place) if type(self.source) is Records else self.source

    cdef count(self, dict changes, long long batch):
        """Add the touch's contribution to the panes' `changes` in the batch of that number."""
        cdef Plan plan = self.plan
        cdef tuple names
        cdef long long minute = self.time // MINUTE_MS
        cdef list numbers
        if plan.batch == batch and plan.minute == minute:
            numbers = plan.numbers
        else:
            names = plan.dimensions
            key = (minute, names[0], names[1], names[2], names[3], names[4], names[5], names[6])
            numbers = changes.get(key)
            if numbers is None:
                numbers = changes[key] = [0, 0, 0, 0, 0]
            plan.batch = batch
            plan.minute = minute
            plan.numbers = numbers
        if plan.slot >= 0:
            numbers[plan.slot] = numbers[plan.slot] + 1
        if self.cost:
            numbers[4] = numbers[4] + self.cost


cdef Plain read_plain(
    const byte* raw, Py_ssize_t size, long long written, registry, unsigned int partitions, unsigned int partition
):
    """The plain touch in a record's value, `written` then (ms); None where it is none, or of another partition."""
    if raw == NULL or size > LARGEST:
        return None
    cdef Touch touch
    if not scan(raw, raw + size, &touch):
        return None
    cdef unsigned long long needed = (1ULL << EVENT_ID) | (1ULL << SITE) | (1ULL << TIME) | (1ULL << TYPE) | (
        1ULL << VISITOR_ID
    )
    if touch.seen & needed != needed:
        return None
    if murmur2(touch.field[VISITOR_ID].at, touch.field[VISITOR_ID].size) % partitions != partition:
        return None
    if touch.wide:
        try:
            PyUnicode_DecodeUTF8(<const char*>raw, size, NULL)
        except UnicodeDecodeError:
            return None

    cdef Text kind = touch.field[TYPE]
    if not (is_word(kind, b"click", 5) or is_word(kind, b"landing", 7) or is_word(kind, b"impression", 10)):
        return None
    cdef bint impression = kind.size == 10
    cdef bint granted = False
    if touch.field[CONSENT].size:
        granted = is_word(touch.field[CONSENT], b"granted", 7)
        if not granted:
            return None

    cdef Text code = touch.field[CURRENCY]
    cdef int field
    for field in range(code.size):
        if not 65 <= code.at[field] <= 90:  # what is to be put in capitals is not plain
            return None

    cdef long long received = touch.received if (touch.seen >> RECEIVED_AT) & 1 else written
    cdef long long time = touch.time
    if received > MAX_TIME or touch.sent > MAX_TIME or time > MAX_TIME or received < 0:
        return None
    if (touch.seen >> SENT_AT) & 1 and not -CLOCK <= received - touch.sent <= CLOCK:
        time += received - touch.sent
        if time < 0:
            time = 0
    if not -FUTURE <= received - time <= MAX_AGE:
        return None

    cdef Text click_ids[MOST_CLICK_IDS]
    cdef Text click_id_values[MOST_CLICK_IDS]
    cdef int number = 0
    cdef byte* end = plan_key(&touch, click_ids, click_id_values, &number)
    if end == NULL:
        return None
    cdef bytes plan_name = PyBytes_FromStringAndSize(<const char*>key_buffer, end - key_buffer)
    cdef Plan plan = <Plan>_plans.get(plan_name)
    if (
        plan is None
        or plan.registry is not registry
        or plan.version != registry.version
        or not plan.start <= time < plan.until
    ):
        plan = new_plan(PyBytes_FromStringAndSize(<const char*>raw, size), written, registry, number > 0)
        if plan is None:
            return None
        if len(_plans) >= MOST_PLANS:
            _plans.clear()
        _plans[plan_name] = plan
    if not granted and not plan.unasked:
        return None

    # The content in the order of names is what the fingerprint is made of; the record has all of it that the plan
    # does not say.
    cdef byte* content = content_buffer
    cdef byte* out = value_buffer
    cdef byte* began
    content[0] = 123
    content += 1
    out[0] = 123
    out += 1
    for field in range(CONTENT_END):
        if not (touch.seen >> field) & 1:
            continue
        began = content
        content = put(content, opening[field])
        if field == TIME:
            content = put_number(content, touch.time)
        elif field == COST:
            content = put_number(content, touch.cost)
        else:
            content = put(content, touch.field[field])
            content[0] = 34
            content += 1
        content[0] = 44
        content += 1
        if field == SOURCE or field == MEDIUM or field == CAMPAIGN or field == CONTENT or field == TERM or (
            field == PARTNER or field == CURRENCY
        ):
            continue
        if field == TIME:
            out = put(out, opening[TIME])
            out = put_number(out, time)
            out[0] = 44
            out += 1
        else:
            memcpy(out, began, content - began)
            out += content - began
    (content - 1)[0] = 125

    cdef Plain plain = Plain.__new__(Plain)
    fp = xxh3_64_hexdigest(PyBytes_FromStringAndSize(<const char*>content_buffer, content - content_buffer))
    if not (touch.seen >> COST) & 1:
        out = put(out, opening[COST])
        out[0] = 48
        out[1] = 44
        out += 2
    memcpy(out, b'"fp":"', 6)
    out += 6
    memcpy(out, PyUnicode_AsUTF8AndSize(fp, NULL), 16)
    out += 16
    memcpy(out, b'","received_at":', 16)
    out = put_number(out + 16, received)
    out[0] = 44
    out += 1
    if plan.evidence is not None and not impression:
        memcpy(out, b'"evidence":"', 12)
        out += 12
        evidence = evidence_hash(plan.evidence, click_ids, click_id_values, number)
        memcpy(out, PyUnicode_AsUTF8AndSize(evidence, NULL), 16)
        out += 16
        out[0] = 34
        out[1] = 44
        out += 2
    if (out - value_buffer) + PyBytes_GET_SIZE(plan.tail) > BUFFER:
        return None
    out = put_bytes(out, plan.tail)

    plain.value = PyBytes_FromStringAndSize(<const char*>value_buffer, out - value_buffer)
    plain.key = PyBytes_FromStringAndSize(<const char*>touch.field[VISITOR_ID].at, touch.field[VISITOR_ID].size)
    plain.visitor = b"v" + <bytes>xxh3_128_digest(plan.visitor_prefix + plain.key)
    plain.state_key = plain.visitor + b"t" + <bytes>xxh3_64_digest(
        PyBytes_FromStringAndSize(<const char*>touch.field[EVENT_ID].at, touch.field[EVENT_ID].size)
    )
    plain.received_at = received
    plain.time = time
    plain.cost = touch.cost
    plain.names_click = kind.size == 5 and touch.field[CLICK_ID].size > 0
    plain.plan = plan
    return plain


cpdef read_all(records, registry, int partitions, int partition, list read, odd):
    """Append the plain touch in each record to `read`; `odd(record)` for the rest."""
    cdef Plain plain
    cdef Records many
    cdef Py_ssize_t at
    cdef bytes value
    cdef const byte* raw
    if type(records) is Records:
        many = <Records>records
        for at in range(many.count):
            raw = many.places[at].value
            plain = read_plain(raw, many.places[at].value_size, many.places[at].timestamp, registry, partitions, partition)
            if plain is None:
                odd(many.record(at))
            else:
                plain.source = many
                plain.place = at
                read.append(plain)
        return
    for record in records:
        value = record.value
        raw = NULL if value is None else <const byte*>PyBytes_AS_STRING(value)
        plain = read_plain(
            raw, 0 if value is None else PyBytes_GET_SIZE(value), record.timestamp, registry, partitions, partition
        )
        if plain is None:
            odd(record)
        else:
            plain.source = record
            read.append(plain)


cpdef tuple look_ups(list read):
    """As `streams.core.clicks._look_ups`."""
    cdef list keys = []
    cdef list odd = []
    cdef dict visitors = {}
    for entry in read:
        if type(entry) is Plain:
            keys.append((<Plain>entry).state_key)
            visitors[(<Plain>entry).visitor] = None
        else:
            keys.append((<tuple>entry)[3])
            visitors[(<tuple>entry)[2]] = None
            odd.append(entry)
    cdef list named = list(visitors)
    cdef bytes mark
    for visitor in named:
        # As `streams.core.state.mark_key`.
        mark = PyBytes_FromStringAndSize(PyBytes_AS_STRING(visitor), PyBytes_GET_SIZE(visitor))
        (<char*>PyBytes_AS_STRING(mark))[0] = 109
        keys.append(mark)
    return keys, named, odd


cpdef dict marked_among(list visitors, list found, Py_ssize_t start, set stated):
    """As `streams.core.clicks._marked_among`."""
    cdef dict marked = {}
    cdef Py_ssize_t at
    for at in range(len(visitors)):
        mark = found[start + at]
        if mark is not None:
            marked[visitors[at]] = read_mark(mark)
    if stated:
        for visitor in visitors:
            if visitor in stated:
                marked[visitor] = ALWAYS
    return marked


cpdef tuple settle(
    list read, list found, dict marked, dict puts, dict waiting, list touches, dict changes, long long batch, odd
):
    """Put and count each plain touch that is new and changes nothing known; `odd(entry, stored)` for the rest.

    `batch` is a number that no other `changes` have had.
    Returns how many it took, and the latest moment of receipt.
    """
    cdef Py_ssize_t at
    cdef Py_ssize_t taken = 0
    cdef long long latest = 0
    cdef Plain plain
    cdef PyObject* until
    for at in range(len(read)):
        entry = read[at]
        if type(entry) is Plain and found[at] is None:
            plain = <Plain>entry
            until = PyDict_GetItem(marked, plain.visitor)
            if plain.state_key not in puts and plain.state_key not in waiting and (
                until == NULL or (plain.time > <long long>(<object>until) and not plain.names_click)
            ):
                puts[plain.state_key] = plain.value
                touches.append(plain)
                plain.count(changes, batch)
                taken += 1
                if plain.received_at > latest:
                    latest = plain.received_at
                continue
        odd(entry, found[at])
    return taken, latest


cpdef bytes pane_value(long long minute, bytes names, list numbers, bytes old):
    """As `streams.core.panes.write_value`; None where the pane has, or had, more than traffic."""
    cdef long long totals[5]
    cdef const byte* p
    cdef const byte* start
    cdef Py_ssize_t size
    cdef byte* out = value_buffer
    cdef int at
    if len(numbers) != 5 or PyBytes_GET_SIZE(names) > LARGEST:
        return None
    for at in range(5):
        totals[at] = numbers[at]
    if old is not None:
        start = <const byte*>PyBytes_AS_STRING(old)
        size = PyBytes_GET_SIZE(old)
        if size < 13 or memcmp(start + size - 12, b'"models":{}}', 12) != 0:
            return None
        p = start + size - 13  # the comma before
        for at in range(4, -1, -1):
            p = number_before(start, p, &totals[at])
            if p == NULL:
                return None
    memcpy(out, b'{"minute":', 10)
    out = put_number(out + 10, minute)
    out[0] = 44
    out = put_bytes(out + 1, names)
    for at in range(5):
        out[0] = 44
        out = put_signed(put(out + 1, counter[at]), totals[at])
    memcpy(out, b',"models":{}}', 13)
    return PyBytes_FromStringAndSize(<const char*>value_buffer, out + 13 - value_buffer)


cpdef emit_panes(list changed, list placed, list olds, dict puts, list outputs, odd):
    """As `streams.core.panes._emit`."""
    cdef Py_ssize_t at
    cdef tuple place, pane, texts
    for at in range(len(changed)):
        pane = <tuple>changed[at]
        place = <tuple>placed[at]
        texts = <tuple>place[0]
        minute = (<tuple>pane[0])[0]
        old = olds[at]
        value = pane_value(minute, texts[1], pane[1], old)
        if value is None:
            value = odd(minute, texts[1], pane[1], old)
        puts[place[2]] = value
        outputs.append(Keyed(place[1], value, place[2]))


cdef inline const byte* number_before(const byte* start, const byte* end, long long* total) noexcept nogil:
    """Add the whole number that ends before `end` to `total`; returns the comma before its name, NULL if it is odd."""
    cdef const byte* p = end - 1
    cdef long long number = 0
    cdef long long unit = 1
    while p > start and 48 <= p[0] <= 57:
        number += (p[0] - 48) * unit
        unit *= 10
        p -= 1
        if end - p > 18:
            return NULL
    if p == end - 1:
        return NULL
    if p[0] == 45:
        number = -number
        p -= 1
    if p[0] != 58:
        return NULL
    total[0] += number
    while p > start and p[0] != 44:
        p -= 1
    return p


cdef inline byte* put_signed(byte* to, long long number) noexcept nogil:
    if number < 0:
        to[0] = 45
        return put_number(to + 1, -number)
    return put_number(to, number)


cdef byte* plan_key(Touch* touch, Text* click_ids, Text* values, int* number):
    """Write all that a plan depends on to `key_buffer`, and find the address's click ids; NULL where it is not plain."""
    cdef byte* out = key_buffer
    cdef int field
    for field in (TYPE, SITE, SOURCE, MEDIUM, CAMPAIGN, CONTENT, TERM, PARTNER, VARIANT, AUDIENCE, CURRENCY):
        out = put(out, touch.field[field])
        out[0] = 0
        out += 1
    cdef Text url = touch.field[URL]
    if touch.field[REFERRER].size:
        out = put(out, authority(touch.field[REFERRER]))
        out[0] = 0
        out = put(out + 1, authority(url))
    out[0] = 0
    out += 1
    if not url.size:
        return out

    cdef const byte* p = url.at
    cdef const byte* end = url.at + url.size
    cdef const byte* start
    cdef bint escaped = False
    while p < end and p[0] != 63 and p[0] != 35:  # ? #
        escaped = escaped or p[0] == 37
        p += 1
    if p == end:
        # What was percent-encoded as a whole has its scheme's colon so, too.
        return NULL if escaped and scheme(url) == 0 else out
    cdef Text value
    cdef Text named
    cdef Py_ssize_t size
    cdef int at
    while p < end:
        p += 1
        start = p
        while p < end and p[0] != 61 and p[0] != 38 and p[0] != 63 and p[0] != 35:  # = & ? #
            p += 1
        if p == end or p[0] != 61:
            continue
        size = p - start
        value.at = p + 1
        while p < end and p[0] != 38 and p[0] != 63 and p[0] != 35:
            p += 1
        value.size = p - value.at
        if not value.size:
            continue
        known = parameter_names[PyUnicode_DecodeUTF8(<const char*>start, size, NULL)]
        if not known:
            continue
        named.at = <const byte*>PyUnicode_AsUTF8AndSize(known, &named.size)
        out[0] = 38
        out = put(out + 1, named)
        if named.size > 4 and memcmp(named.at, b"utm_", 4) == 0:
            out[0] = 61
            out = put(out + 1, value)
            continue
        if known == HW_CID or number[0] == MOST_CLICK_IDS:
            return NULL
        for at in range(value.size):
            if not plain_value[value.at[at]]:
                return NULL
        for at in range(number[0]):
            if click_ids[at].size == named.size and memcmp(click_ids[at].at, named.at, named.size) == 0:
                break
        else:
            click_ids[number[0]] = named
            values[number[0]] = value
            number[0] += 1
    return out


cdef str evidence_hash(bytes utm, Text* click_ids, Text* values, int number):
    """The hash of an address's evidence: its UTM parameters, then its click ids in order."""
    cdef int at
    pieces = []
    for at in range(number):
        pieces.append(
            PyBytes_FromStringAndSize(<const char*>click_ids[at].at, click_ids[at].size)
            + b"="
            + PyBytes_FromStringAndSize(<const char*>values[at].at, values[at].size)
        )
    if number > 1:
        pieces.sort()
    if utm:
        pieces.insert(0, utm)
    return xxh3_64_hexdigest(b"&".join(pieces))


cdef Plan new_plan(bytes value, long long written, registry, bint unique):
    """Ask the Python code what a touch's statements come to; None where it refuses the record's `value`."""
    from streams.core.clicks import to_touch

    try:
        event = accept(value, written, "clicks")
    except Refused:
        return None
    touch = to_touch(event, registry)
    site, time = touch["site"], touch["time"]
    cdef Plan plan = Plan.__new__(Plan)
    plan.registry = registry
    plan.version = registry.version
    plan.start, plan.until = registry.steady(site, touch["campaign"], time)
    plan.unasked = registry.site(site, time).consent_default == "granted"
    tail = {name: touch[name] for name in _PLANNED + _PLANNED_TOO if name in touch}
    plan.evidence = None
    if unique:
        tail.pop("evidence", None)
        plan.evidence = read_query(touch["url"]).shape.text.encode()
    tail["invalid_reasons"] = []
    tail["valid"] = True
    plan.tail = orjson.dumps(tail)[1:]
    plan.visitor_prefix = f"{len(site)}:{site}".encode()
    plan.dimensions = (
        site, touch["channel"], touch["campaign"], touch.get("partner", ""), touch.get("variant", ""),
        touch.get("audience", ""), touch["currency"],
    )  # fmt: skip
    plan.slot = -1 if touch["internal"] else {"impression": 0, "click": 1, "landing": 2}[touch["type"]]
    return plan


cdef fill_tables():
    cdef int field
    cdef unsigned int slot
    memset(field_at, UNKNOWN, SLOTS)
    for field in range(FIELDS_END):
        name = _NAMES[field].encode()
        name_of[field] = text_of(name)
        limit_of[field] = _LIMITS.get(_NAMES[field], 256)
        slot = slot_of(name_of[field].at, name_of[field].size)
        while field_at[slot] != UNKNOWN:
            slot = (slot + 1) & (SLOTS - 1)
        field_at[slot] = field
        if field < CONTENT_END:
            quoted = b"" if field in (TIME, COST) else b'"'
            opening[field] = text_of(b'"' + (b"cost_micros" if field == COST else name) + b'":' + quoted)
    for field, name in enumerate((b"impressions", b"clicks", b"landings", b"invalid", b"cost_micros")):
        counter[field] = text_of(b'"' + name + b'":')
    for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-":
        plain_value[letter] = 1
    for letter in b"abcdefghijklmnopqrstuvwxyz0123456789.-":
        host_letter[letter] = 1


fill_tables()
