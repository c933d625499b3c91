/* The linearizability monitor of register.pml, on line: `config` holds every state in which the register may
 * be now, each with what the operations under way have done in it. An answer lets operations under way take
 * effect in any order first, then drops the states that contradict it; when none is left, no order of the
 * history explains the answers.
 *
 * A state is value | codes << 3, three bits an operation: 0 not yet, 1 done, 2 refused, of a GET 1 + what it saw. */
enum { M_NEW = 0, M_DONE = 4, M_OPS = 4, M_MAX = 40, M_WORK = 8192 };
static const int m_kind[M_OPS] = {KIND0, KIND1, KIND2, KIND3};

static int m_code(int config, int op) { return (config >> (3 + 3 * op)) & 7; }

/* The state after `op` takes effect in `config`. */
static int m_apply(int config, int op) {
  int value = config & 7, code = 1;
  switch (m_kind[op]) {
    case 1: value = op + 1; break;                                      /* PUT */
    case 2: if (value) code = 2; else value = op + 1; break;            /* CREATE */
    case 3: value = 0; break;                                           /* DELETE */
    case 4: if (value) value = 0; else code = 2; break;                 /* REMOVE */
    default: code = 1 + value;                                          /* GET */
  }
  return (config & ~7) | value | code << (3 + 3 * op);
}

static int m_order(const void* a, const void* b) { return *(const short*)a - *(const short*)b; }

/* 0: the answer is explained. 1: it is not. 2: M_MAX is too small. */
static int monitor_answer(short* config, unsigned char* count, const unsigned char* state, int op, int answer) {
  static short work[M_WORK];
  static unsigned char seen[1 << 15];
  int n = 0, kept = 0, i, o;
  for (i = 0; i < *count; i++) work[n++] = config[i], seen[config[i]] = 1;
  for (i = 0; i < n; i++)
    for (o = 0; o < M_OPS; o++) {
      if (state[o] == M_NEW || state[o] == M_DONE || m_code(work[i], o) != 0) continue;
      int next = m_apply(work[i], o);
      if (!seen[next]) seen[next] = 1, work[n++] = (short)next;
    }
  for (i = 0; i < n; i++) seen[work[i]] = 0;
  for (i = 0; i < n; i++) {
    if (m_code(work[i], op) != answer) continue;
    int rest = work[i] & ~(7 << (3 + 3 * op));
    if (seen[rest]) continue;
    seen[rest] = 1;
    work[kept++] = (short)rest;
  }
  for (i = 0; i < kept; i++) seen[work[i]] = 0;
  if (kept > M_MAX) return 2;
  qsort(work, kept, sizeof(short), m_order);
  for (i = 0; i < M_MAX; i++) config[i] = i < kept ? work[i] : 0;
  *count = (unsigned char)kept;
  return kept == 0;
}
