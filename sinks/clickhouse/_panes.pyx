# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Panes, compiled: from the records' bytes to the bytes of ClickHouse's columns in one pass over them.

Rule: as `_touches`: a fast twin of `sinks.clickhouse.decoders.panes`, never a second opinion. For a pane that is not
plain `read_pane` is asked, and what it raises is the caller's sign to take the Python way for the whole chunk. A test
holds the two against each other, byte for byte.
"""

from sinks.clickhouse.outputs import read_pane

include "_columns.pxi"

DEF LOWS = 7
DEF NUMBERS = 6
DEF MODELS = 13
DEF MEASURES = 6
DEF IN_ONE = 16
DEF VALUES = 32768
DEF LAST_MINUTE = 71_582_788

LOW = ("site", "channel", "campaign", "partner", "variant", "audience", "currency")
NUMBER = ("minute", "impressions", "clicks", "landings", "invalid", "cost_micros")
_NAMES = (*LOW, *NUMBER, "models")

cdef Low lows[LOWS]
cdef unsigned int minutes[ROWS]
cdef long long numbers[NUMBERS][ROWS]
cdef unsigned long long lengths[ROWS]
cdef unsigned long long versions[ROWS]

# Of all records together: the names of models, the number of each value's, and what was measured.
cdef Text model_names[256]
cdef Py_ssize_t model_count = 0
cdef byte model_of[VALUES]
cdef long long measured[MEASURES][VALUES]
cdef Py_ssize_t value_count = 0

# One record.
cdef Text texts[LOWS]
cdef long long whole[NUMBERS]
cdef Text models[IN_ONE]
cdef long long measures[IN_ONE][MEASURES]
cdef Py_ssize_t count = 0

cdef unsigned long long NEEDED = know_names(_NAMES, _NAMES)


cdef const byte* parse_models(const byte* at, const byte* end) noexcept nogil:
    """Read ``{"model":[six whole numbers],...}`` into `models` and `measures`; NULL: ask Python."""
    global count
    cdef const byte* close
    cdef Py_ssize_t number, earlier
    count = 0
    if at >= end or at[0] != 0x7B:
        return NULL
    at += 1
    if at < end and at[0] == 0x7D:
        return at + 1
    while True:
        if at >= end or at[0] != 0x22 or count == IN_ONE:
            return NULL
        close = text_end(at + 1, end)
        if close == NULL or close + 2 >= end or close[1] != 0x3A or close[2] != 0x5B:
            return NULL
        models[count].at = at + 1
        models[count].size = close - at - 1
        for earlier in range(count):
            if same(models[earlier], models[count]):
                return NULL
        at = close + 3
        for number in range(MEASURES):
            close = whole_end(at, end)
            if close == NULL or close >= end or close[0] != (0x2C if number < MEASURES - 1 else 0x5D):
                return NULL
            measures[count][number] = number_of(at, close)
            at = close + 1
        count += 1
        if at >= end:
            return NULL
        if at[0] == 0x7D:
            return at + 1
        if at[0] != 0x2C:
            return NULL
        at += 1


cdef bint parse(const byte* at, Py_ssize_t size) noexcept nogil:
    """Read one record into `texts`, `whole`, `models` and `measures`; False: ask Python."""
    cdef const byte* end = at + size
    cdef const byte* name
    cdef const byte* close
    cdef unsigned long long seen = 0
    cdef int field
    if size < 2 or at[0] != 0x7B:
        return False
    at += 1
    while True:
        if at >= end or at[0] != 0x22:
            return False
        name = at + 1
        close = text_end(name, end)
        if close == NULL or close + 1 >= end or close[1] != 0x3A:
            return False
        field = field_of(name, close - name)
        at = close + 2
        if field == UNKNOWN:
            at = passed_over(at, end, 4)
        elif field < LOWS:
            if at >= end or at[0] != 0x22:
                return False
            close = text_end(at + 1, end)
            if close == NULL:
                return False
            texts[field].at = at + 1
            texts[field].size = close - at - 1
            at = close + 1
        elif field < MODELS:
            close = whole_end(at, end)
            if close == NULL:
                return False
            whole[field - LOWS] = number_of(at, close)
            at = close
        else:
            at = parse_models(at, end)
        if at == NULL or at >= end:
            return False
        if field != UNKNOWN:
            seen |= 1ULL << field
        if at[0] == 0x7D:
            break
        if at[0] != 0x2C:
            return False
        at += 1
    return at + 1 == end and seen == NEEDED


cdef int take_object(object pane, list kept) except -1:
    """As `parse`, from what Python read."""
    global count
    cdef int number
    cdef Py_ssize_t size
    for number in range(LOWS):
        texts[number].at = <const byte*>PyUnicode_AsUTF8AndSize(getattr(pane, LOW[number]), &size)
        texts[number].size = size
    for number in range(NUMBERS):
        whole[number] = getattr(pane, NUMBER[number])
    if len(pane.models) > IN_ONE:
        raise ValueError("more models than the compiled way takes")
    count = 0
    for name, values in pane.models.items():
        models[count].at = <const byte*>PyUnicode_AsUTF8AndSize(name, &size)
        models[count].size = size
        for number in range(MEASURES):
            measures[count][number] = values[number]
        count += 1
    kept.append(pane)
    return 0


cdef inline int number_of_model(Text name) noexcept nogil:
    """Its number among those of all records, in the order in which they came; -1 where there are too many."""
    global model_count
    cdef Py_ssize_t number
    for number in range(model_count):
        if same(model_names[number], name):
            return <int>number
    if model_count == 256:
        return -1
    model_names[model_count] = name
    model_count += 1
    return <int>(model_count - 1)


def columns(records, unsigned long long base):
    """The columns of the panes among `records`: how many rows, and the data of `LOW`, of `NUMBER` (the first in seconds,
    32 bits), of ends of arrays, models, the six measures, and of versions: `base` and the offset. None: take the Python
    way. Raises what `read_pane` raises.
    """
    global model_count, value_count
    cdef Py_ssize_t row = 0, number, place
    cdef int model, measure
    cdef unsigned long long offset = 0
    cdef list kept = []
    cdef Text text
    if len(records) > ROWS:
        return None
    for number in range(LOWS):
        begin_low(&lows[number], len(records))
    model_count = value_count = 0
    for place in range(len(records)):
        if not text_of_record(records, place, &text, &offset, kept):
            return None
        if text.at == NULL:
            continue
        if not parse(text.at, text.size):
            take_object(read_pane(PyBytes_FromStringAndSize(<const char*>text.at, text.size)), kept)
        if not 0 <= whole[0] <= LAST_MINUTE or value_count + count > VALUES:
            return None
        for number in range(LOWS):
            add_low(&lows[number], texts[number])
        minutes[row] = <unsigned int>(60 * whole[0])
        for number in range(1, NUMBERS):
            numbers[number][row] = whole[number]
        for number in range(count):
            model = number_of_model(models[number])
            if model < 0:
                return None
            model_of[value_count] = <byte>model
            for measure in range(MEASURES):
                measured[measure][value_count] = measures[number][measure]
            value_count += 1
        lengths[row] = value_count
        versions[row] = base + offset
        row += 1
    data = [low_bytes(&lows[number]) for number in range(LOWS)]
    data.append(PyBytes_FromStringAndSize(<const char*>minutes, 4 * row))
    for number in range(1, NUMBERS):
        data.append(words(<const unsigned long long*>numbers[number], row))
    data.append(words(lengths, row))
    data.append(dictionary(model_names, model_count, model_of, value_count, False))
    for measure in range(MEASURES):
        data.append(words(<const unsigned long long*>measured[measure], value_count))
    data.append(words(versions, row))
    return row, data
