#include <x.h>
#define MAX 3
#define SQ(x) ((x)*(x))
typedef struct { int a; } Foo;
typedef struct node { struct node *next; } Node;
typedef int (*cb)(int);
typedef unsigned long ulong_t;
struct point { int x, y; };
enum color { RED, GREEN };
union u { int a; };
static int table[] = {1, 2};
int decl(int a);
char *decl2(void);
/* Adds.
   Two. */
static int
add(int a, int b)
{
  return a + b;
}
char **ptr(void) { return 0; }
