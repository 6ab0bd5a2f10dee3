import { HttpErrorResponse } from '@angular/common/http';

/** What the router says of a failure: problem details (RFC 9457, `application/problem+json`). */
interface Problem {
  readonly title?: string;
  readonly detail?: string;
}

/** Whatever went wrong with a call to the router, as one sentence for a person. */
export function asSentence(error: unknown): string {
  if (!(error instanceof HttpErrorResponse)) {
    return error instanceof Error ? error.message : String(error);
  }
  if (error.status === 0) {
    return (
      `The router at ${new URL(error.url ?? location.href).origin} cannot be reached: ` +
      `is it running, and does its CORS_ORIGINS allow ${location.origin}?`
    );
  }
  const problem: Problem | null = typeof error.error === 'object' ? error.error : null;
  return problem?.detail ?? problem?.title ?? `The router answered ${error.status}.`;
}
