import { DecimalPipe, PercentPipe } from '@angular/common';
import { Component, input } from '@angular/core';

import { Label } from './router-client';

/** Labels with their scores: an ordered list, each with a bar as long as its score. */
@Component({
  selector: 'app-label-bars',
  imports: [DecimalPipe, PercentPipe],
  template: `
    <ol>
      @for (label of labels(); track label[0]) {
        <li>
          <span class="name">{{ label[1].replaceAll('_', ' ') }}</span>
          <span class="score">{{ label[2] | percent: '1.1-1' }}</span>
          <meter
            min="0"
            max="1"
            [value]="label[2]"
            [attr.aria-label]="label[1].replaceAll('_', ' ')"
            [attr.title]="label[0] + ', score ' + (label[2] | number: '1.6-6')"
          ></meter>
        </li>
      }
    </ol>
  `,
  styles: `
    ol {
      list-style: none;
      margin: 0;
      padding: 0;
      display: grid;
      gap: 0.9rem;
    }
    li {
      display: grid;
      grid-template-columns: 1fr auto;
      gap: 0.15rem 1rem;
    }
    li:first-child .name {
      font-weight: 600;
    }
    .score {
      color: var(--quiet);
      font-variant-numeric: tabular-nums;
    }
    meter {
      grid-column: 1 / -1;
      appearance: none;
      width: 100%;
      height: 0.5rem;
      border: 0;
      border-radius: 0.25rem;
      background: var(--line);
    }
    meter::-webkit-meter-inner-element {
      display: block;
    }
    meter::-webkit-meter-bar {
      height: 0.5rem;
      border: 0;
      border-radius: 0.25rem;
      background: var(--line);
    }
    meter::-webkit-meter-optimum-value {
      border-radius: 0.25rem;
      background: var(--accent);
    }
    meter::-moz-meter-bar {
      border-radius: 0.25rem;
      background: var(--accent);
    }
  `,
})
export class LabelBars {
  readonly labels = input.required<readonly Label[]>();
}
