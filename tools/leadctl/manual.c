/* Prints leadctl(1); part of the build only. */
#include "pages.h"

int main(void)
{
    pages_manual(stdout);
    return 0;
}
