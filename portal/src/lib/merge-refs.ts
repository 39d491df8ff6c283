// What @mantine/core's ScrollArea takes from @floating-ui/react: this one function. The whole of that library would
// come with every table otherwise (vite.config.ts).
import { useMergedRef } from "@mantine/hooks";
import type { Ref } from "react";

export const useMergeRefs = <T>(refs: (Ref<T> | undefined)[]) => useMergedRef<T>(...refs);
