# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Touches, compiled: from the records' bytes to the bytes of ClickHouse's columns in one pass over them.

Rule: a fast twin of `sinks.clickhouse.decoders.touches`, never a second opinion. A touch is plain where the fields that
are wanted hold texts without escapes, whole numbers and booleans, as the worker writes nearly all of them; for any
other `read_touch` is asked, and what it raises is the caller's sign to take the Python way for the whole chunk. Without
a compiler the module is missing and everything goes that way; a test holds the two against each other, byte for byte.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from sinks.clickhouse.outputs import read_touch

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

ctypedef unsigned char byte
ctypedef unsigned short short_index

DEF ROWS = 4096
DEF SLOTS = 8192
DEF LOWS = 23
DEF TEXTS = 8
DEF NUMBERS = 3
DEF FLAGS = 4
DEF REASONS = 38
DEF FIELDS = 39
DEF UNKNOWN = 255
DEF NAME_SLOTS = 256

LOW = (
    "site", "type", "channel", "source", "medium", "campaign", "content", "term", "ad_group", "ad", "placement",
    "partner", "sub1", "sub2", "sub3", "sub4", "sub5", "variant", "audience", "country", "device", "currency",
    "consent",
)  # fmt: skip
TEXT = ("event_id", "visitor_id", "click_id", "user_id", "url", "referrer", "evidence", "hw_cid")
NUMBER = ("time", "received_at", "cost_micros")
FLAG = ("valid", "internal", "stated", "quiet")
_NAMES = (*LOW, *TEXT, *NUMBER, *FLAG, "invalid_reasons")
_NEEDED = (
    "site", "time", "event_id", "visitor_id", "type", "channel", "source", "medium", "campaign", "content", "term",
    "cost_micros", "currency", "valid", "invalid_reasons", "internal", "received_at",
)  # fmt: skip
_TYPES = (b"click", b"impression", b"landing")
_OTHER_TYPES = (b"consent", b"verdict")

cdef struct Text:
    const byte* at
    Py_ssize_t size

cdef struct Low:
    # The values of one column: each different one once, in the order in which they came, and its number for each row.
    Py_ssize_t count
    Py_ssize_t different
    short_index last
    Text value[ROWS]
    short_index index[ROWS]
    short_index slot[SLOTS]

cdef struct Buffer:
    byte* at
    Py_ssize_t size
    Py_ssize_t room

cdef Low lows[LOWS + 1]
cdef Buffer buffers[TEXTS]
cdef long long numbers[NUMBERS][ROWS]
cdef byte flags[FLAGS][ROWS]
cdef unsigned long long lengths[ROWS]
cdef unsigned long long versions[ROWS]

cdef Text names[FIELDS]
cdef byte field_at[NAME_SLOTS]
cdef byte plain[256]
cdef unsigned long long NEEDED = 0
cdef Text touch_types[3]
cdef Text other_types[2]

# One record.
cdef Text texts[LOWS + TEXTS]
cdef long long whole[NUMBERS]
cdef byte yes[FLAGS]
cdef Text reasons[64]
cdef Py_ssize_t reason_count = 0

_kept = []


cdef Text text_of(bytes source):
    cdef Text text
    _kept.append(source)
    text.at = <const byte*>PyBytes_AS_STRING(source)
    text.size = PyBytes_GET_SIZE(source)
    return text


cdef inline bint same(Text one, Text other) noexcept nogil:
    return one.size == other.size and memcmp(one.at, other.at, one.size) == 0


cdef inline unsigned int name_slot(const byte* name, Py_ssize_t size) noexcept nogil:
    return (size * 13 + name[0] * 7 + name[size - 1] * 31 + name[size >> 1] * 3) & (NAME_SLOTS - 1)


cdef inline int field_of(const byte* name, Py_ssize_t size) noexcept nogil:
    cdef unsigned int slot
    cdef int field
    if size == 0:
        return UNKNOWN
    slot = name_slot(name, size)
    while True:
        field = field_at[slot]
        if field == UNKNOWN:
            return UNKNOWN
        if names[field].size == size and memcmp(names[field].at, name, size) == 0:
            return field
        slot = (slot + 1) & (NAME_SLOTS - 1)


cdef void _prepare():
    global NEEDED
    cdef int number
    cdef unsigned int slot
    memset(field_at, UNKNOWN, NAME_SLOTS)
    for number, name in enumerate(_NAMES):
        names[number] = text_of(name.encode())
        slot = name_slot(names[number].at, names[number].size)
        while field_at[slot] != UNKNOWN:
            slot = (slot + 1) & (NAME_SLOTS - 1)
        field_at[slot] = number
        if name in _NEEDED:
            NEEDED |= 1ULL << number
    for number in range(256):
        plain[number] = number >= 0x20 and number != 0x22 and number != 0x5C
    for number in range(3):
        touch_types[number] = text_of(_TYPES[number])
    for number in range(2):
        other_types[number] = text_of(_OTHER_TYPES[number])


_prepare()


cdef inline const byte* text_end(const byte* at, const byte* end) noexcept nogil:
    """The closing quote of a text without escapes that begins at `at`; NULL where it is none."""
    while at < end and plain[at[0]]:
        at += 1
    return at if at < end and at[0] == 0x22 else NULL


cdef const byte* passed_over(const byte* at, const byte* end, int depth) noexcept nogil:
    """What follows the plain value at `at`, which nobody wants; NULL where it is not plain: Python looks at it then."""
    cdef byte close
    if at >= end:
        return NULL
    if at[0] == 0x22:
        at = text_end(at + 1, end)
        return at + 1 if at != NULL else NULL
    if at[0] == 0x7B or at[0] == 0x5B:
        if depth == 0:
            return NULL
        close = at[0] + 2
        at += 1
        if at < end and at[0] == close:
            return at + 1
        while True:
            if close == 0x7D:
                if at >= end or at[0] != 0x22:
                    return NULL
                at = text_end(at + 1, end)
                if at == NULL or at + 1 >= end or at[1] != 0x3A:
                    return NULL
                at += 2
            at = passed_over(at, end, depth - 1)
            if at == NULL or at >= end:
                return NULL
            if at[0] == close:
                return at + 1
            if at[0] != 0x2C:
                return NULL
            at += 1
    if end - at > 5:
        if memcmp(at, b"true", 4) == 0 or memcmp(at, b"null", 4) == 0:
            return at + 4
        if memcmp(at, b"false", 5) == 0:
            return at + 5
    return whole_end(at, end)


cdef inline const byte* whole_end(const byte* at, const byte* end) noexcept nogil:
    """What follows the whole number at `at`, of at most 18 digits; NULL where there is none."""
    cdef const byte* first
    if at < end and at[0] == 0x2D:
        at += 1
        if at < end and at[0] == 0x30:
            return NULL
    first = at
    while at < end and 0x30 <= at[0] <= 0x39:
        at += 1
    if at == first or at - first > 18 or (first[0] == 0x30 and at - first > 1):
        return NULL
    return at


cdef inline bint is_ascii(const byte* at, Py_ssize_t size) noexcept nogil:
    cdef unsigned long long word
    while size >= 8:
        memcpy(&word, at, 8)
        if word & 0x8080808080808080ULL:
            return False
        at += 8
        size -= 8
    while size:
        if at[0] > 0x7F:
            return False
        at += 1
        size -= 1
    return True


cdef int parse(const byte* at, Py_ssize_t size) noexcept nogil:
    """Read one record into `texts`, `whole`, `yes` and `reasons`: 0: a plain touch; 1: none; 2: ask Python."""
    global reason_count
    cdef const byte* end = at + size
    cdef const byte* name
    cdef const byte* close
    cdef unsigned long long seen = 0
    cdef int field, number
    cdef long long value
    cdef bint minus
    for number in range(LOWS + TEXTS):
        texts[number].at = at
        texts[number].size = 0
    memset(yes, 0, FLAGS)
    reason_count = 0
    if size < 2 or at[0] != 0x7B:
        return 2
    at += 1
    while True:
        if at >= end or at[0] != 0x22:
            return 2
        name = at + 1
        close = text_end(name, end)
        if close == NULL or close + 1 >= end or close[1] != 0x3A:
            return 2
        field = field_of(name, close - name)
        at = close + 2
        if field == UNKNOWN:
            at = passed_over(at, end, 4)
            if at == NULL:
                return 2
        elif field < LOWS + TEXTS:
            if at >= end or at[0] != 0x22:
                return 2
            close = text_end(at + 1, end)
            if close == NULL:
                return 2
            texts[field].at = at + 1
            texts[field].size = close - at - 1
            at = close + 1
        elif field < LOWS + TEXTS + NUMBERS:
            close = whole_end(at, end)
            if close == NULL:
                return 2
            minus = at[0] == 0x2D
            at += minus
            value = 0
            while at < close:
                value = value * 10 + (at[0] - 0x30)
                at += 1
            whole[field - LOWS - TEXTS] = -value if minus else value
        elif field < REASONS:
            if end - at > 4 and memcmp(at, b"true", 4) == 0:
                yes[field - LOWS - TEXTS - NUMBERS] = 1
                at += 4
            elif end - at > 5 and memcmp(at, b"false", 5) == 0:
                yes[field - LOWS - TEXTS - NUMBERS] = 0
                at += 5
            else:
                return 2
        else:
            reason_count = 0
            if at >= end or at[0] != 0x5B:
                return 2
            at += 1
            while at < end and at[0] == 0x22:
                close = text_end(at + 1, end)
                if close == NULL or reason_count == 64:
                    return 2
                reasons[reason_count].at = at + 1
                reasons[reason_count].size = close - at - 1
                reason_count += 1
                at = close + 1
                if at < end and at[0] == 0x2C:
                    at += 1
                    if at >= end or at[0] != 0x22:
                        return 2
            if at >= end or at[0] != 0x5D:
                return 2
            at += 1
        if field != UNKNOWN:
            seen |= 1ULL << field
        if at >= end:
            return 2
        if at[0] == 0x7D:
            break
        if at[0] != 0x2C:
            return 2
        at += 1
    if at + 1 != end:
        return 2
    if seen & 2:
        for number in range(2):
            if same(texts[1], other_types[number]):
                return 1
    if seen & NEEDED != NEEDED:
        return 2
    for number in range(3):
        if same(texts[1], touch_types[number]):
            return 0
    return 2


cdef int take_object(object touch, list kept) except -1:
    """As `parse`, from what Python read."""
    global reason_count
    cdef int number
    cdef Py_ssize_t size
    for number in range(LOWS + TEXTS):
        text = getattr(touch, _NAMES[number])
        texts[number].at = <const byte*>PyUnicode_AsUTF8AndSize(text, &size)
        texts[number].size = size
    for number in range(NUMBERS):
        whole[number] = getattr(touch, NUMBER[number])
    for number in range(FLAGS):
        yes[number] = getattr(touch, FLAG[number])
    stated = touch.invalid_reasons
    if len(stated) > 64:
        raise ValueError("more reasons than the compiled way takes")
    reason_count = len(stated)
    for number in range(reason_count):
        reasons[number].at = <const byte*>PyUnicode_AsUTF8AndSize(stated[number], &size)
        reasons[number].size = size
    kept.append(touch)
    return 0


cdef inline void add_low(Low* column, Text text) noexcept nogil:
    cdef unsigned long long hashed = 14695981039346656037ULL
    cdef Py_ssize_t number
    cdef unsigned int slot
    cdef short_index there
    if column.count and same(column.value[column.last], text):
        column.index[column.count] = column.last
        column.count += 1
        return
    for number in range(text.size):
        hashed = (hashed ^ text.at[number]) * 1099511628211ULL
    slot = (hashed ^ (hashed >> 29)) & (SLOTS - 1)
    while True:
        there = column.slot[slot]
        if there == 0:
            column.value[column.different] = text
            column.different += 1
            column.slot[slot] = <short_index>column.different
            column.last = <short_index>(column.different - 1)
            break
        if same(column.value[there - 1], text):
            column.last = <short_index>(there - 1)
            break
        slot = (slot + 1) & (SLOTS - 1)
    column.index[column.count] = column.last
    column.count += 1


cdef int grow(Buffer* buffer, Py_ssize_t more) except -1:
    cdef Py_ssize_t room
    cdef byte* fresh
    if buffer.size + more <= buffer.room:
        return 0
    room = 2 * (buffer.size + more)
    fresh = <byte*>realloc(buffer.at, room)
    if fresh == NULL:
        raise MemoryError
    buffer.at, buffer.room = fresh, room
    return 0


cdef inline Py_ssize_t put_text(byte* at, Text text) noexcept nogil:
    """Length and bytes; returns how many that is, at most ten more than the text."""
    cdef Py_ssize_t left = text.size, used = 0
    while left > 0x7F:
        at[used] = <byte>(left & 0x7F | 0x80)
        left >>= 7
        used += 1
    at[used] = <byte>left
    memcpy(at + used + 1, text.at, text.size)
    return used + 1 + text.size


cdef inline void put_number(byte* at, unsigned long long number) noexcept nogil:
    cdef int place
    for place in range(8):
        at[place] = <byte>(number >> (8 * place))


cdef bytes low_bytes(Low* column):
    """As `native.low_cardinality`."""
    cdef Py_ssize_t most = 32 + column.count * 2, number, used
    cdef bint wide = column.different > 256
    cdef byte* out
    if column.count == 0:
        return b""
    for number in range(column.different):
        most += column.value[number].size + 10
    out = <byte*>malloc(most)
    if out == NULL:
        raise MemoryError
    try:
        put_number(out, 512 | (1 if wide else 0))
        put_number(out + 8, column.different)
        used = 16
        for number in range(column.different):
            used += put_text(out + used, column.value[number])
        put_number(out + used, column.count)
        used += 8
        for number in range(column.count):
            out[used] = <byte>column.index[number]
            used += 1
            if wide:
                out[used] = <byte>(column.index[number] >> 8)
                used += 1
        return PyBytes_FromStringAndSize(<const char*>out, used)
    finally:
        free(out)


cdef bytes words(const unsigned long long* values, Py_ssize_t count):
    """Little-endian, as the machines are that this is compiled for."""
    return PyBytes_FromStringAndSize(<const char*>values, 8 * count)


def columns(records, unsigned long long base):
    """The columns of the touches among `records`: how many rows, and the data of `LOW`, `TEXT`, `NUMBER`, `FLAG`, then
    ends of arrays and values of ``invalid_reasons``, then versions: `base` and the offset. None: take the Python way.

    Raises what `read_touch` raises.
    """
    cdef Py_ssize_t row = 0, number, size
    cdef int kind
    cdef unsigned long long ends = 0
    cdef list kept = []
    cdef Buffer* buffer
    cdef const byte* at
    if len(records) > ROWS:
        return None
    for number in range(LOWS + 1):
        lows[number].count = lows[number].different = 0
        lows[number].last = 0
        memset(lows[number].slot, 0, sizeof(lows[number].slot))
    for number in range(TEXTS):
        buffers[number].size = 0
    for record in records:
        value = record.value
        if value is None:
            continue
        if type(value) is not bytes:
            return None
        at = <const byte*>PyBytes_AS_STRING(value)
        size = PyBytes_GET_SIZE(value)
        if not is_ascii(at, size):
            PyUnicode_DecodeUTF8(<const char*>at, size, "strict")
        kind = parse(at, size)
        if kind == 1:
            continue
        if kind == 2:
            take_object(read_touch(value), kept)
        else:
            kept.append(value)
        if lows[LOWS].count + reason_count > ROWS:
            return None
        for number in range(LOWS):
            add_low(&lows[number], texts[number])
        for number in range(TEXTS):
            buffer = &buffers[number]
            grow(buffer, texts[LOWS + number].size + 10)
            buffer.size += put_text(buffer.at + buffer.size, texts[LOWS + number])
        for number in range(NUMBERS):
            numbers[number][row] = whole[number]
        for number in range(FLAGS):
            flags[number][row] = yes[number]
        for number in range(reason_count):
            add_low(&lows[LOWS], reasons[number])
        ends += reason_count
        lengths[row] = ends
        versions[row] = base + <unsigned long long>record.offset
        row += 1
    data = [low_bytes(&lows[number]) for number in range(LOWS)]
    for number in range(TEXTS):
        data.append(PyBytes_FromStringAndSize(<const char*>buffers[number].at, buffers[number].size))
    for number in range(NUMBERS):
        data.append(words(<const unsigned long long*>numbers[number], row))
    for number in range(FLAGS):
        data.append(PyBytes_FromStringAndSize(<const char*>flags[number], row))
    data.append(words(lengths, row))
    data.append(low_bytes(&lows[LOWS]))
    data.append(words(versions, row))
    return row, data
