# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Touches, compiled: from the records' bytes to the bytes of ClickHouse's columns in one pass over them.

Rule: a fast twin of `sinks.clickhouse.decoders.touches`, never a second opinion. A touch is plain where the fields that
are wanted hold texts without escapes, whole numbers and booleans, as the worker writes nearly all of them; for any
other `read_touch` is asked, and what it raises is the caller's sign to take the Python way for the whole chunk. Without
a compiler the module is missing and everything goes that way; a test holds the two against each other, byte for byte.
"""

from sinks.clickhouse.outputs import read_touch

include "_columns.pxi"

DEF LOWS = 23
DEF TEXTS = 8
DEF NUMBERS = 3
DEF FLAGS = 4
DEF REASONS = 38

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

cdef Low lows[LOWS + 1]
cdef Buffer buffers[TEXTS]
cdef long long numbers[NUMBERS][ROWS]
cdef byte flags[FLAGS][ROWS]
cdef unsigned long long lengths[ROWS]
cdef unsigned long long versions[ROWS]

cdef unsigned long long NEEDED = 0
cdef Text touch_types[3]
cdef Text other_types[2]

# One record.
cdef Text texts[LOWS + TEXTS]
cdef long long whole[NUMBERS]
cdef byte yes[FLAGS]
cdef Text reasons[64]
cdef Py_ssize_t reason_count = 0


cdef void _prepare():
    global NEEDED
    cdef int number
    NEEDED = know_names(_NAMES, _NEEDED)
    for number in range(3):
        touch_types[number] = text_of(_TYPES[number])
    for number in range(2):
        other_types[number] = text_of(_OTHER_TYPES[number])


_prepare()


cdef int parse(const byte* at, Py_ssize_t size) noexcept nogil:
    """Read one record into `texts`, `whole`, `yes` and `reasons`: 0: a plain touch; 1: none; 2: ask Python."""
    global reason_count
    cdef const byte* end = at + size
    cdef const byte* name
    cdef const byte* close
    cdef unsigned long long seen = 0
    cdef int field, number
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
            whole[field - LOWS - TEXTS] = number_of(at, close)
            at = close
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


def columns(records, unsigned long long base):
    """The columns of the touches among `records`: how many rows, and the data of `LOW`, `TEXT`, `NUMBER`, `FLAG`, then
    ends of arrays and values of ``invalid_reasons``, then versions: `base` and the offset. None: take the Python way.

    Raises what `read_touch` raises.
    """
    cdef Py_ssize_t row = 0, number, place
    cdef int kind
    cdef unsigned long long ends = 0, offset = 0
    cdef list kept = []
    cdef Buffer* buffer
    cdef Text text
    if len(records) > ROWS:
        return None
    for number in range(LOWS + 1):
        begin_low(&lows[number], ROWS if number == LOWS else len(records))
    for number in range(TEXTS):
        buffers[number].size = 0
    for place in range(len(records)):
        if not text_of_record(records, place, &text, &offset, kept):
            return None
        if text.at == NULL:
            continue
        kind = parse(text.at, text.size)
        if kind == 1:
            continue
        if kind == 2:
            take_object(read_touch(PyBytes_FromStringAndSize(<const char*>text.at, text.size)), kept)
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
        versions[row] = base + offset
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
