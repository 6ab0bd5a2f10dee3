import { InjectionToken } from '@angular/core';

/** Where the router answers, without a slash at the end. */
export const ROUTER_URL = new InjectionToken<string>('where the router answers');

const DEFAULT = 'http://127.0.0.1:5000';

/**
 * Find the router's address when the page loads, so that one build serves every deployment:
 * `?api=http://…` in the page's address, else `api` in `config.json` beside it.
 */
export async function findRouterUrl(): Promise<string> {
  const asked = new URLSearchParams(location.search).get('api');
  return usable(asked) ?? usable(await configured()) ?? DEFAULT;
}

async function configured(): Promise<string | null> {
  try {
    const response = await fetch('config.json', { cache: 'no-cache' });
    const config: { api?: string } = await response.json();
    return config.api ?? null;
  } catch {
    return null; // no such file, or not JSON: the default will do
  }
}

function usable(address: string | null): string | null {
  return address !== null && /^https?:\/\//.test(address) ? address.replace(/\/+$/, '') : null;
}
