// The header in C++: a program that only links.
#include <leadrouter.h>

int main()
{
    return leadrouter_version()[0] == '\0';
}
