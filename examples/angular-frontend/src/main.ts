import { provideHttpClient } from '@angular/common/http';
import { provideBrowserGlobalErrorListeners } from '@angular/core';
import { bootstrapApplication } from '@angular/platform-browser';

import { App } from './app/app';
import { ROUTER_URL, findRouterUrl } from './app/router-url';

const routerUrl = await findRouterUrl();

await bootstrapApplication(App, {
  providers: [
    provideBrowserGlobalErrorListeners(),
    provideHttpClient(),
    { provide: ROUTER_URL, useValue: routerUrl },
  ],
});
